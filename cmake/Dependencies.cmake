# Every library that Postern stands on. All are Debian packages; deploy/lib/packages.sh lists their names.
find_package(Threads REQUIRED)
find_package(OpenSSL 3.0 REQUIRED)
find_package(Protobuf REQUIRED)
find_package(absl REQUIRED)
find_package(gRPC CONFIG REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(prometheus-cpp CONFIG REQUIRED)
find_package(SQLite3 REQUIRED)
find_package(CURL REQUIRED)
find_package(CLI11 CONFIG REQUIRED)
find_package(PkgConfig REQUIRED)
pkg_check_modules(CJOSE REQUIRED IMPORTED_TARGET cjose)
pkg_check_modules(JANSSON REQUIRED IMPORTED_TARGET jansson)

# libpg_query is Postgres's own scanner and grammar. Its protobuf output costs ten times the parse and recurses
# without a stack check, so common/sql reads the raw parse tree through the server's node headers instead.
find_library(PG_QUERY_LIBRARY NAMES libpg_query.a pg_query REQUIRED)
find_path(PG_SERVER_INCLUDE_DIR postgres.h
          PATHS /usr/include/postgresql/15/server /usr/include/postgresql/17/server REQUIRED)
add_library(postern_pg_query INTERFACE)
target_link_libraries(postern_pg_query INTERFACE ${PG_QUERY_LIBRARY})
target_include_directories(postern_pg_query SYSTEM INTERFACE ${PG_SERVER_INCLUDE_DIR})
add_library(postern::pg_query ALIAS postern_pg_query)

if(POSTERN_TESTS)
  find_package(GTest REQUIRED)
endif()
if(POSTERN_BENCH)
  find_package(benchmark REQUIRED)
endif()
