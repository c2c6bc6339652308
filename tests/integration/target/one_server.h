// One PostgreSQL for all tests of the binary, and short ways to talk to it.
#pragma once

#include <memory>
#include <string>

#include <libpq-fe.h>

#include "gtest/gtest.h"
#include "tests/support/postgres_server.h"

namespace postern::target_test {

inline const test::PostgresServer& Server() {
  static const test::PostgresServer server;
  return server;
}

struct ResultDeleter {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultDeleter>;

// A superuser's session, straight to the server.
class Admin {
 public:
  Admin() : conn_(PQconnectdb(Server().admin_uri().c_str())) {
    EXPECT_EQ(PQstatus(conn_), CONNECTION_OK) << PQerrorMessage(conn_);
  }
  ~Admin() { PQfinish(conn_); }
  Admin(const Admin&) = delete;
  Admin& operator=(const Admin&) = delete;

  Result Run(const std::string& sql) {
    Result result(PQexec(conn_, sql.c_str()));
    const ExecStatusType status = PQresultStatus(result.get());
    EXPECT_NE(status, PGRES_FATAL_ERROR) << sql << ": " << PQerrorMessage(conn_);
    return result;
  }
  std::string Value(const std::string& sql) {
    const Result result = Run(sql);
    return PQntuples(result.get()) == 1 ? PQgetvalue(result.get(), 0, 0) : "(not one row)";
  }
  PGconn* conn() { return conn_; }

 private:
  PGconn* conn_;
};

}  // namespace postern::target_test
