// A server with the shop of the golden files, and the golden queries with what analysis says of them on that server.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include <libpq-fe.h>

#include "common/sql/analysis.h"
#include "common/sql/catalog.h"
#include "gtest/gtest.h"
#include "tests/integration/target/one_server.h"
#include "tests/unit/common/sql/golden_file.h"

namespace postern::sql_test {

using target_test::Result;

// A superuser's session on the shop. Errors are results like others.
class Shop {
 public:
  Shop();
  ~Shop() { PQfinish(conn_); }
  Shop(const Shop&) = delete;
  Shop& operator=(const Shop&) = delete;

  Result Try(const std::string& sql) const { return Result(PQexec(conn_, sql.c_str())); }
  // Fails the test unless it succeeds.
  Result Run(const std::string& sql) const;
  void UsePath(const std::vector<std::string>& search_path) const;
  PGconn* conn() const { return conn_; }

 private:
  PGconn* conn_;
};

inline bool Good(const Result& result) {
  const ExecStatusType status = PQresultStatus(result.get());
  return status == PGRES_TUPLES_OK || status == PGRES_COMMAND_OK;
}

// The catalog as the sidecar reads it.
const sql::Catalog& ShopCatalog();

struct Query {
  std::string place;  // file:line
  std::string title;
  std::string text;
  const sql::GoldenFile* file = nullptr;
  sql::Statement statement;
};

// Every golden case over shop.catalog that is one SELECT and can be analysed.
const std::vector<Query>& GoldenQueries();

std::string NameOf(const sql::ColumnId& column);

}  // namespace postern::sql_test
