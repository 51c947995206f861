# SPDX-License-Identifier: MIT
# What Debian's policy asks of files in a package, done to the trees that CPack is about to pack: pages of the
# manual and change logs compressed, static libraries without debug sections.
foreach(component IN LISTS CPACK_COMPONENTS_ALL)
  string(TOUPPER ${component} upper)
  set(tree ${CPACK_TEMPORARY_DIRECTORY}/${component})
  set(package ${CPACK_DEBIAN_${upper}_PACKAGE_NAME})
  set(documents ${tree}/usr/share/doc/${package})
  file(COPY ${CPACK_SW_DEBIAN_DIR}/copyright DESTINATION ${documents} FILE_PERMISSIONS OWNER_READ
    OWNER_WRITE GROUP_READ WORLD_READ)
  file(COPY ${CPACK_SW_DEBIAN_DIR}/changelog DESTINATION ${documents} FILE_PERMISSIONS OWNER_READ
    OWNER_WRITE GROUP_READ WORLD_READ)
  execute_process(COMMAND gzip -9nf ${documents}/changelog COMMAND_ERROR_IS_FATAL ANY)
  if(EXISTS ${CPACK_SW_DEBIAN_DIR}/${package}/lintian-overrides)
    configure_file(${CPACK_SW_DEBIAN_DIR}/${package}/lintian-overrides
      ${tree}/usr/share/lintian/overrides/${package} COPYONLY FILE_PERMISSIONS OWNER_READ OWNER_WRITE
      GROUP_READ WORLD_READ)
  endif()
  if(EXISTS ${tree}/usr/share/man)
    execute_process(COMMAND find ${tree}/usr/share/man -type f -exec gzip -9nf {} +
      COMMAND_ERROR_IS_FATAL ANY)
  endif()
  if(component STREQUAL "dev")
    execute_process(COMMAND find ${tree} -name *.a -exec strip --strip-debug --remove-section=.comment
      --enable-deterministic-archives {} + COMMAND_ERROR_IS_FATAL ANY)
  endif()
endforeach()
