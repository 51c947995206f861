# SPDX-License-Identifier: MIT
# Debian packages, by CPack: swbroker, libsw1, libsw-dev, sw-tools, python3-sw. build.sh beside this file makes
# them with Debian's paths and compiler flags.
set(debian ${CMAKE_CURRENT_LIST_DIR})
set(SW_PACKAGER "Surfing Weights developers <developers@surfing-weights.example>" CACHE STRING
  "Maintainer of the Debian packages")

# ---- generated: the licence in the copyright file's form, the symbols of libsw1 with their first version
file(STRINGS ${PROJECT_SOURCE_DIR}/LICENSE license)
set(SW_LICENSE_INDENTED "")
foreach(line IN LISTS license)
  if(line STREQUAL "")
    set(line ".")
  endif()
  string(APPEND SW_LICENSE_INDENTED " ${line}\n")
endforeach()
string(STRIP "${SW_LICENSE_INDENTED}" SW_LICENSE_INDENTED)
set(SW_LICENSE_INDENTED " ${SW_LICENSE_INDENTED}")
set(made ${CMAKE_BINARY_DIR}/debian-files)
configure_file(${debian}/copyright ${made}/copyright @ONLY)
configure_file(${debian}/changelog ${made}/changelog COPYONLY)

set(map ${PROJECT_SOURCE_DIR}/libsw/libsw.map)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${map})
file(STRINGS ${map} lines REGEX "^SW_[0-9.]+ {|^ +sw_[a-z0-9_]+;")
set(symbols "libsw.so.1 libsw1 #MINVER#\n")
foreach(line IN LISTS lines)
  if(line MATCHES "^(SW_([0-9]+)(\\.([0-9]+))?) {")
    set(node ${CMAKE_MATCH_1})
    set(since ${CMAKE_MATCH_2}.${CMAKE_MATCH_4})
    string(REGEX REPLACE "\\.$" ".0" since ${since})
    string(APPEND symbols " ${node}@${node} ${since}.0\n")
  elseif(line MATCHES "(sw_[a-z0-9_]+)")
    string(APPEND symbols " ${CMAKE_MATCH_1}@${node} ${since}.0\n")
  endif()
endforeach()
file(CONFIGURE OUTPUT ${made}/libsw1/symbols CONTENT "${symbols}" @ONLY)

# maintainer scripts have their fixed names inside a package
foreach(package swbroker sw-tools)
  foreach(script postinst prerm postrm)
    configure_file(${debian}/${package}.${script} ${made}/${package}/${script} COPYONLY)
  endforeach()
endforeach()
foreach(script postinst prerm)
  configure_file(${debian}/python3-sw.${script} ${made}/python3-sw/${script} COPYONLY)
endforeach()
configure_file(${debian}/libsw1.triggers ${made}/libsw1/triggers COPYONLY)
configure_file(${debian}/libsw1.lintian-overrides ${made}/libsw1/lintian-overrides COPYONLY)
file(CONFIGURE OUTPUT ${made}/libsw1/shlibs CONTENT "libsw 1 libsw1 (>= ${PROJECT_VERSION})\n")
file(CONFIGURE OUTPUT ${made}/sw-tools/conffiles CONTENT "/etc/default/swbert\n")
file(CONFIGURE OUTPUT ${made}/swbroker/conffiles CONTENT "/etc/swbroker/swbrokerd.conf\n")

# ---- what CPack reads
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME surfing-weights)
set(CPACK_PACKAGE_VENDOR "Surfing Weights developers")
set(CPACK_PACKAGE_CONTACT "${SW_PACKAGER}")
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_COMPONENTS_ALL broker library dev tools python)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_SET_DESTDIR ON) # some files go to /etc, not below the prefix
set(CPACK_STRIP_FILES ON)
set(CPACK_PRE_BUILD_SCRIPTS ${debian}/stage.cmake)
set(CPACK_SW_DEBIAN_DIR ${made})
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SOURCE surfing-weights)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR})
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)

set(CPACK_DEBIAN_BROKER_PACKAGE_NAME swbroker)
set(CPACK_DEBIAN_BROKER_PACKAGE_SECTION misc)
set(CPACK_DEBIAN_BROKER_PACKAGE_DEPENDS "systemd | systemd-standalone-sysusers | systemd-sysusers, systemd | \
systemd-standalone-tmpfiles | systemd-tmpfiles")
set(CPACK_DEBIAN_BROKER_PACKAGE_SUGGESTS sw-tools)
set(CPACK_DEBIAN_BROKER_PACKAGE_CONTROL_EXTRA ${made}/swbroker/postinst ${made}/swbroker/prerm
  ${made}/swbroker/postrm ${made}/swbroker/conffiles)
set(CPACK_DEBIAN_BROKER_DESCRIPTION "broker that keeps model weights in shared memory
One verified copy of the weights of language models for all inference
processes of a machine. The daemon reads chunk files with io_uring into an
arena of fixed size, which workers map read-only and compute on in place.
.
Contains the daemon swbrokerd, its systemd units, and swctl to operate it.")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libsw1)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SUGGESTS swbroker)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${made}/libsw1/symbols ${made}/libsw1/shlibs
  ${made}/libsw1/triggers)
set(CPACK_DEBIAN_LIBRARY_DESCRIPTION "model weights in shared memory, and BERT on them
Maps the arena of the broker swbrokerd, pins the chunks that its caller uses
without a system call, and runs BERT on them where they lie.")

set(CPACK_DEBIAN_DEV_PACKAGE_NAME libsw-dev)
set(CPACK_DEBIAN_DEV_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_DEV_PACKAGE_DEPENDS "libsw1 (= ${PROJECT_VERSION}), libjansson-dev, libutf8proc-dev, libxxhash-dev")
set(CPACK_DEBIAN_DEV_DESCRIPTION "model weights in shared memory, and BERT on them - development files
Headers, the static library, pkg-config and CMake files, and the manual of
libsw: leases on weights that a broker keeps in shared memory, tensors in
them, a tokenizer, and a forward pass of BERT.")

set(CPACK_DEBIAN_TOOLS_PACKAGE_NAME sw-tools)
set(CPACK_DEBIAN_TOOLS_PACKAGE_SECTION utils)
set(CPACK_DEBIAN_TOOLS_PACKAGE_DEPENDS "libsw1 (= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_TOOLS_PACKAGE_RECOMMENDS swbroker)
set(CPACK_DEBIAN_TOOLS_PACKAGE_CONTROL_EXTRA ${made}/sw-tools/postinst ${made}/sw-tools/prerm
  ${made}/sw-tools/postrm ${made}/sw-tools/conffiles)
set(CPACK_DEBIAN_TOOLS_DESCRIPTION "tools for model weights in shared memory
swchunk cuts models into verified chunk files, swbert computes embeddings,
classes and masked words on the weights that a broker keeps, and swbench
measures it all. With a systemd socket that gives embeddings to whoever
connects.")

# The same on every architecture: ctypes, and no file that is compiled.
set(CPACK_DEBIAN_PYTHON_PACKAGE_NAME python3-sw)
set(CPACK_DEBIAN_PYTHON_PACKAGE_ARCHITECTURE all)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SECTION python)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SHLIBDEPS OFF)
set(CPACK_DEBIAN_PYTHON_PACKAGE_DEPENDS "python3 (>= 3.9), libsw1 (>= ${PROJECT_VERSION})")
set(CPACK_DEBIAN_PYTHON_PACKAGE_RECOMMENDS python3-numpy)
set(CPACK_DEBIAN_PYTHON_PACKAGE_SUGGESTS swbroker)
set(CPACK_DEBIAN_PYTHON_PACKAGE_CONTROL_EXTRA ${made}/python3-sw/postinst ${made}/python3-sw/prerm)
set(CPACK_DEBIAN_PYTHON_DESCRIPTION "model weights in shared memory, and BERT on them - Python modules
Shows a Python process what libsw shows a program in C: models, leases on
the weights that a broker keeps in shared memory, tensors where they lie (as
NumPy arrays where NumPy is installed), and a forward pass of BERT.")
include(CPack)
