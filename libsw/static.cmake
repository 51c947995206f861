# SPDX-License-Identifier: MIT
# libsw.a: one object, linked together beforehand, whose only global symbols are those of include/sw.
#
# Why not an archive of the objects: swi_ names of ours would meet a host program's, and BLIS's sgemm_ and
# cblas_sgemm would take over those of whatever BLAS the host links. BLIS is inside, as in libsw.so, unless
# SW_BLIS_SHARED; the other libraries (sw.pc's Requires.private) come from the host's system.
set(SW_STATIC_LIBRARY ${CMAKE_BINARY_DIR}/libsw.a)
set(together ${CMAKE_CURRENT_BINARY_DIR}/libsw.o)
if(NOT SW_BLIS_SHARED)
  set(blis_inside ${BLIS_LIBRARY})
endif()
add_custom_command(
  OUTPUT ${SW_STATIC_LIBRARY}
  COMMAND ${CMAKE_C_COMPILER} -r -nostdlib -o ${together}
    ${SW_LIBRARY_OBJECTS} ${blis_inside}
  COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=sw_* ${together}
  COMMAND ${CMAKE_COMMAND} -E rm -f ${SW_STATIC_LIBRARY}
  COMMAND ${CMAKE_AR} rcs ${SW_STATIC_LIBRARY} ${together}
  DEPENDS ${SW_LIBRARY_OBJECTS}
  COMMENT "Linking libsw.a into one object" COMMAND_EXPAND_LISTS VERBATIM)
add_custom_target(sw-static ALL DEPENDS ${SW_STATIC_LIBRARY})
