# SPDX-License-Identifier: MIT
# What a consumer of libsw needs: headers, both libraries, sw.pc, a CMake package. All of it may be moved
# after the installation: paths are relative to the files that hold them.
include(CMakePackageConfigHelpers)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/sw DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} COMPONENT dev)
install(TARGETS sw EXPORT sw-targets LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  COMPONENT library NAMELINK_COMPONENT dev)
install(FILES ${SW_STATIC_LIBRARY} DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT dev)
# where Debian's Python looks in /usr; it finds libsw.so by its own place
install(FILES python/sw.py python/_sw.py DESTINATION lib/python3/dist-packages COMPONENT python)

# ... except where a path was given as an absolute one
if(IS_ABSOLUTE "${CMAKE_INSTALL_LIBDIR}" OR IS_ABSOLUTE "${CMAKE_INSTALL_INCLUDEDIR}")
  set(SW_PC_PREFIX ${CMAKE_INSTALL_PREFIX})
  set(SW_PC_LIBDIR ${CMAKE_INSTALL_FULL_LIBDIR})
  set(SW_PC_INCLUDEDIR ${CMAKE_INSTALL_FULL_INCLUDEDIR})
else()
  file(RELATIVE_PATH SW_PC_PREFIX /${CMAKE_INSTALL_LIBDIR}/pkgconfig /)
  set(SW_PC_PREFIX "\${pcfiledir}/${SW_PC_PREFIX}")
  set(SW_PC_LIBDIR "\${prefix}/${CMAKE_INSTALL_LIBDIR}")
  set(SW_PC_INCLUDEDIR "\${prefix}/${CMAKE_INSTALL_INCLUDEDIR}")
endif()
if(SW_BLIS_SHARED)
  set(SW_BLIS_PRIVATE "-lblis ")
  set(SW_BLIS_TARGET "blis;")
endif()
foreach(pc sw.pc sw-static.pc)
  configure_file(${pc}.in ${CMAKE_CURRENT_BINARY_DIR}/${pc} @ONLY)
  install(FILES ${CMAKE_CURRENT_BINARY_DIR}/${pc} DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig
    COMPONENT dev)
endforeach()

set(SW_PACKAGE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/sw)
install(EXPORT sw-targets NAMESPACE sw:: DESTINATION ${SW_PACKAGE_DIR} COMPONENT dev)
configure_package_config_file(sw-config.cmake.in ${CMAKE_CURRENT_BINARY_DIR}/sw-config.cmake
  INSTALL_DESTINATION ${SW_PACKAGE_DIR} PATH_VARS CMAKE_INSTALL_LIBDIR CMAKE_INSTALL_INCLUDEDIR)
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/sw-config-version.cmake
  COMPATIBILITY SameMajorVersion)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/sw-config.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/sw-config-version.cmake DESTINATION ${SW_PACKAGE_DIR} COMPONENT dev)
