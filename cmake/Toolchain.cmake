# How everything is compiled: language level, warnings, sanitizers. Presets choose the values (CMakePresets.json).
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
# Everything ends in an executable; one flag for libraries and programs lets them share precompiled headers.
add_compile_options(-fPIE)
add_link_options(-pie)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/bin)

set(POSTERN_SANITIZE "" CACHE STRING "Value of -fsanitize=, empty for none")

# ccache reads the whole of a precompiled header for each file: the two do not go together.
find_program(POSTERN_CCACHE ccache)
if(POSTERN_CCACHE AND NOT POSTERN_PCH)
  set(CMAKE_CXX_COMPILER_LAUNCHER ${POSTERN_CCACHE})
endif()

find_program(POSTERN_LLD ld.lld)
if(POSTERN_LLD)
  add_link_options(-fuse-ld=lld)
endif()

add_compile_options(-fno-omit-frame-pointer -fstack-protector-strong)
if(CMAKE_BUILD_TYPE STREQUAL "Release")
  add_compile_definitions(_FORTIFY_SOURCE=2)
endif()
add_link_options(-Wl,-z,relro,-z,now)

if(POSTERN_SANITIZE)
  add_compile_options(-fsanitize=${POSTERN_SANITIZE})
  add_link_options(-fsanitize=${POSTERN_SANITIZE})
endif()

# Warnings hold for our own targets only; generated code does not take them.
set(POSTERN_WARNINGS -Wall -Wextra -Wshadow -Wnon-virtual-dtor -Woverloaded-virtual)
# Every build of ours stops at a warning. The one that users make does not: optimisation brings out false ones that
# differ from compiler to compiler, and a setup must not fail on those.
if(NOT CMAKE_BUILD_TYPE STREQUAL "Release")
  list(APPEND POSTERN_WARNINGS -Werror)
endif()
if(CMAKE_CXX_COMPILER_ID MATCHES "Clang")
  list(APPEND POSTERN_WARNINGS -Wthread-safety -Wno-unknown-warning-option)
else()
  # GCC 12 reports these falsely inside the standard library's inlined string and optional code.
  list(APPEND POSTERN_WARNINGS -Wno-maybe-uninitialized -Wno-restrict -Wno-stringop-overflow -Wno-array-bounds)
  # Files compiled together: a file's unnamed namespace then looks like an included header's.
  if(POSTERN_UNITY)
    list(APPEND POSTERN_WARNINGS -Wno-subobject-linkage)
  endif()
endif()
