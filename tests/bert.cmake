# bert: kernels, GEMM under every kind of micro-kernel, config, encoder, engine
sw_test(bert-kernels SOURCES bert_kernels.c LIBRARIES sw-encoder m)
sw_test(bert-gemm SOURCES bert_gemm.c bert_random.c LIBRARIES sw-encoder m)
# a plain program, for ThreadSanitizer's sake, which also dislikes threads in a forked child
add_executable(team-stress team_stress.c)
target_link_libraries(team-stress PRIVATE sw-encoder sw-flags)
if(SW_SANITIZE MATCHES thread)
  add_test(NAME team-stress COMMAND team-stress --no-fork)
else()
  add_test(NAME team-stress COMMAND team-stress)
endif()
set_tests_properties(team-stress PROPERTIES TIMEOUT 120)

sw_test(bert-encoder
  SOURCES bert_encoder.c bert_model.c bert_reference.c bert_random.c
          ${PROJECT_SOURCE_DIR}/libsw/programs/chunk/source/synth_random.c
  LIBRARIES sw-encoder m)
sw_test(bert-engine
  SOURCES bert_engine.c bert_model.c bert_reference.c bert_random.c
          ${PROJECT_SOURCE_DIR}/libsw/programs/chunk/source/synth_random.c
  LIBRARIES sw-encoder sw-test-support m)
sw_test(bert-heads SOURCES bert_heads.c LIBRARIES sw-encoder sw-test-support m)
add_dependencies(test-bert-heads swbrokerd swctl swchunk)
add_dependencies(test-bert-engine swbrokerd swctl swchunk)
foreach(function malloc calloc realloc aligned_alloc posix_memalign mmap sw_component_release)
  target_link_options(test-bert-engine PRIVATE -Wl,--wrap=${function})
endforeach()

# the calls that a worker makes around passes
foreach(suite ancestor submit submit-ends)
  string(REPLACE - _ source ${suite})
  sw_test(${suite} SOURCES ${source}.c bert_fixture.c LIBRARIES sw-encoder sw-test-support m)
  target_link_options(test-${suite} PRIVATE -Wl,--wrap=sw_component_acquire_within)
  add_dependencies(test-${suite} swbrokerd swctl swchunk)
endforeach()
# a plain program, so that it runs under ThreadSanitizer too
add_executable(submit-stress submit_stress.c)
target_link_libraries(submit-stress PRIVATE sw-encoder sw-flags)
target_compile_definitions(submit-stress PRIVATE SW_BUILD_DIR="${CMAKE_BINARY_DIR}")
add_dependencies(submit-stress swbrokerd swchunk)
add_test(NAME submit-stress COMMAND submit-stress 3)
set_tests_properties(submit-stress PROPERTIES TIMEOUT 120)
sw_test(hit-rate SOURCES test_hit_rate.c LIBRARIES sw-encoder)

# The same programs with what other CPUs would run. $SW_CPU names an instruction set of the engine's own;
# BLIS_ARCH_TYPE takes the number of the architecture in BLIS's enumeration: 0 skx (32x12, prefers
# columns, needs AVX-512), 3 haswell (6x16, rows), 4 sandybridge (8x8, columns), 5 penryn (8x4, columns),
# 25 generic (4x16, rows).
function(sw_test_on_other_cpus name)
  if(NOT CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64" OR SW_SANITIZE STREQUAL "thread")
    return()
  endif()
  foreach(variant SW_CPU=avx2:f16c SW_CPU=portable:sse2 BLIS_ARCH_TYPE=0:avx512dq
      BLIS_ARCH_TYPE=3:fma BLIS_ARCH_TYPE=4:avx BLIS_ARCH_TYPE=5:ssse3 BLIS_ARCH_TYPE=25:sse2)
    string(REGEX MATCH "^[^:]+" setting ${variant})
    string(REGEX MATCH "[a-z0-9]+$" flag ${variant})
    string(REGEX MATCH "[a-z0-9]+$" value ${setting})
    add_test(NAME ${name}-on-${value} COMMAND sh -c
      "grep -qw ${flag} /proc/cpuinfo || { echo 'this CPU lacks ${flag}'; exit 77; }; exec \"$0\" --jobs 2"
      $<TARGET_FILE:test-${name}>)
    set_tests_properties(${name}-on-${value} PROPERTIES
      TIMEOUT 120 SKIP_RETURN_CODE 77 ENVIRONMENT ${setting})
  endforeach()
endfunction()
sw_test_on_other_cpus(bert-gemm)
# slow under sanitizers, which have seen every access of the driver in bert-gemm by then
if(NOT SW_SANITIZE)
  sw_test_on_other_cpus(bert-encoder)
endif()
