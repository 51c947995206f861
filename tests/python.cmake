# libsw from Python, with Debian's own, whose NumPy is a Debian package (another may come first in PATH)
find_program(SW_PYTHON python3 PATHS /usr/bin NO_DEFAULT_PATH)
if(NOT SW_PYTHON)
  find_program(SW_PYTHON python3 REQUIRED)
endif()
# under ThreadSanitizer an interpreter without it cannot load the library
if(NOT SW_SANITIZE MATCHES thread)
  add_test(NAME python-abi COMMAND ${SW_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/python_abi.py
    ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR} ${CMAKE_C_COMPILER})
  add_test(NAME python-view COMMAND ${SW_PYTHON} ${CMAKE_CURRENT_SOURCE_DIR}/python_view.py
    ${PROJECT_SOURCE_DIR} ${CMAKE_BINARY_DIR})
  set_tests_properties(python-abi python-view PROPERTIES TIMEOUT 600 SKIP_RETURN_CODE 77)
  if(SW_SANITIZE MATCHES address)
    # the run time has to be there before the library; what an interpreter leaks is its own
    execute_process(COMMAND ${CMAKE_C_COMPILER} -print-file-name=libasan.so
      OUTPUT_VARIABLE SW_ASAN_LIBRARY OUTPUT_STRIP_TRAILING_WHITESPACE)
    set_tests_properties(python-abi python-view PROPERTIES ENVIRONMENT
      "LD_PRELOAD=${SW_ASAN_LIBRARY};ASAN_OPTIONS=detect_leaks=0:abort_on_error=1")
  endif()
endif()
