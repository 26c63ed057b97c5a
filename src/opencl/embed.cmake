# Writes OUT, a C file that holds the SOURCES one after the other as bytes.
set(all "")
foreach(source ${SOURCES})
  file(READ ${source} text HEX)
  string(APPEND all "${text}")
endforeach()
string(REGEX REPLACE "(................................)" "\\1\n    " all "${all}")
string(REGEX REPLACE "([0-9a-f][0-9a-f])" "0x\\1," all "${all}")
file(WRITE ${OUT} "/* Made from src/opencl/kernels by embed.cmake. */
#include \"opencl/source.h\"

const unsigned char sumi_cl_source[] = {
    ${all}
    0};
const size_t sumi_cl_source_size = sizeof sumi_cl_source - 1;
")
