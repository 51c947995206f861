# swbert with a real broker: what it prints, how it streams, how it fails, and the published numbers
foreach(suite output stream failures models heads goldens)
  sw_test(swbert-${suite} SOURCES swbert_${suite}.c swbert_fixture.c LIBRARIES sw-encoder sw-test-support m)
  add_dependencies(test-swbert-${suite} swbrokerd swctl swchunk swbert)
endforeach()
