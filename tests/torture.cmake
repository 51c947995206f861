# The whole system under kills, with each io engine. The long mode is run by hand:
#   build/release/torture --kills 1000 --seconds 120 --seed N
add_executable(torture torture.c torture_worker.c)
target_compile_definitions(torture PRIVATE SW_BUILD_DIR="${CMAKE_BINARY_DIR}")
target_link_libraries(torture PRIVATE sw-client sw-core sw-flags PkgConfig::JANSSON)
add_dependencies(torture swbrokerd swctl swchunk)
foreach(engine uring threads)
  add_test(NAME torture-${engine} COMMAND torture --kills 60 --seconds 10 --io-engine ${engine})
  set_tests_properties(torture-${engine} PROPERTIES TIMEOUT 180)
endforeach()
