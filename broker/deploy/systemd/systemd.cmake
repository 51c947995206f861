# SPDX-License-Identifier: MIT
# Units and what they need: for a broker that can take the service manager's socket.
if(NOT TARGET PkgConfig::SYSTEMD)
  return()
endif()
set(SW_UNIT_DIR lib/systemd/system)
foreach(unit swbrokerd.service swbert@.service)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${unit}.in ${CMAKE_CURRENT_BINARY_DIR}/systemd/${unit} @ONLY)
endforeach()
foreach(unit swbrokerd.socket swbert.socket)
  configure_file(${CMAKE_CURRENT_LIST_DIR}/${unit} ${CMAKE_CURRENT_BINARY_DIR}/systemd/${unit} COPYONLY)
endforeach()
set(units ${CMAKE_CURRENT_BINARY_DIR}/systemd)
install(FILES ${units}/swbrokerd.service ${units}/swbrokerd.socket DESTINATION ${SW_UNIT_DIR} COMPONENT broker)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/swbroker.sysusers.conf DESTINATION lib/sysusers.d
  RENAME swbroker.conf COMPONENT broker)
install(FILES ${CMAKE_CURRENT_LIST_DIR}/swbroker.tmpfiles.conf DESTINATION lib/tmpfiles.d
  RENAME swbroker.conf COMPONENT broker)
if(SW_LIBRARY)
  install(FILES ${units}/swbert@.service ${units}/swbert.socket DESTINATION ${SW_UNIT_DIR} COMPONENT tools)
  install(FILES ${CMAKE_CURRENT_LIST_DIR}/swbert.default DESTINATION ${CMAKE_INSTALL_SYSCONFDIR}/default
    RENAME swbert COMPONENT tools)
endif()
