# SPDX-License-Identifier: MIT
# Find BLIS, whose GEMM micro-kernels libsw uses: in BLIS_ROOT (a variable or an environment variable, the
# prefix of an installation), then where distributions put it.
#
#   SW_BLIS_SHARED                    on: look for the shared library, off: for the static one
#   BLIS_INCLUDE_DIR, BLIS_LIBRARY    what was found
#
# Debian installs each threading variant in a folder of its own; the path names the serial one, because
# the alternatives system may point the plain path to the OpenMP one.
find_path(BLIS_INCLUDE_DIR blis.h PATH_SUFFIXES blis-serial blis)
set(blis_name ${CMAKE_STATIC_LIBRARY_PREFIX}blis${CMAKE_STATIC_LIBRARY_SUFFIX})
if(SW_BLIS_SHARED)
  set(blis_name blis)
endif()
find_library(BLIS_LIBRARY ${blis_name} PATH_SUFFIXES blis-serial blis)
include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(BLIS REQUIRED_VARS BLIS_LIBRARY BLIS_INCLUDE_DIR REASON_FAILURE_MESSAGE
  "Install libblis-serial-dev (Debian) or set BLIS_ROOT to BLIS's prefix, SW_BLIS_SHARED=ON for a shared library")
mark_as_advanced(BLIS_INCLUDE_DIR BLIS_LIBRARY)
