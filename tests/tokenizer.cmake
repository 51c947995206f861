# tokenizer: rules one by one, published vocabularies, pairs and truncation, files good and bad
add_library(sw-tokenizer-fixture STATIC tokenizer_fixture.c)
target_link_libraries(sw-tokenizer-fixture PUBLIC sw-test-support sw-encoder sw-flags PkgConfig::CRITERION)
target_compile_definitions(sw-tokenizer-fixture PRIVATE
  SW_SOURCE_DIR="${PROJECT_SOURCE_DIR}" SW_SHARED_DIR="${PROJECT_SOURCE_DIR}/../shared")
foreach(suite vectors encode files)
  sw_test(tokenizer-${suite} SOURCES tokenizer_${suite}.c LIBRARIES sw-tokenizer-fixture)
endforeach()
