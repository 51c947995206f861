# swchunk: round trips, refusals, safety of what is written, verify and info, the generator, single parts
add_library(sw-test-chunk STATIC chunk_fixture.c)
target_link_libraries(sw-test-chunk PUBLIC sw-test-support sw-core PRIVATE sw-flags PkgConfig::CRITERION)
foreach(suite parts refusal roundtrip safety synth torch verify)
  sw_test(chunk-${suite} SOURCES chunk_${suite}.c LIBRARIES sw-test-chunk sw-chunk m TIMEOUT 300)
  add_dependencies(test-chunk-${suite} swchunk)
endforeach()
target_link_libraries(test-chunk-torch PRIVATE PkgConfig::ZIP)
# archives that no libzip writes
sw_test(chunk-archive SOURCES chunk_archive.c support/zip.c LIBRARIES sw-test-chunk sw-chunk TIMEOUT 300)
add_dependencies(test-chunk-archive swchunk)
