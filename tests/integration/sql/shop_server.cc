#include "tests/integration/sql/shop_server.h"

#include <fstream>
#include <iterator>

#include "fmt/format.h"
#include "sidecar/catalog/catalog_loader.h"
#include "tests/unit/common/sql/catalog_text.h"

namespace postern::sql_test {
namespace {

void MakeShop() {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/tests/integration/sql/shop.sql");
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  target_test::Admin().Run("CREATE DATABASE golden");
  const std::unique_ptr<PGconn, decltype(&PQfinish)> conn(
      PQconnectdb(fmt::format("host={} port={} user=postgres dbname=golden", target_test::Server().directory(),
                              target_test::Server().port())
                      .c_str()),
      &PQfinish);
  const Result made(PQexec(conn.get(), text.c_str()));
  ASSERT_TRUE(Good(made)) << PQerrorMessage(conn.get());
}

}  // namespace

Shop::Shop() {
  static const bool made = [] {
    MakeShop();
    return true;
  }();
  EXPECT_TRUE(made);
  conn_ = PQconnectdb(fmt::format("host={} port={} user=postgres dbname=golden options='-c statement_timeout=10s'",
                                  target_test::Server().directory(), target_test::Server().port())
                          .c_str());
  EXPECT_EQ(PQstatus(conn_), CONNECTION_OK) << PQerrorMessage(conn_);
}

Result Shop::Run(const std::string& sql) const {
  Result result = Try(sql);
  EXPECT_TRUE(Good(result)) << sql << ": " << PQerrorMessage(conn_);
  return result;
}

void Shop::UsePath(const std::vector<std::string>& search_path) const {
  Run(fmt::format("SET search_path = \"{}\"", fmt::join(search_path, "\", \"")));
}

const sql::Catalog& ShopCatalog() {
  static const std::shared_ptr<const sql::Catalog> catalog = [] {
    const Shop shop;
    sidecar::ConnectionParameters parameters;
    parameters.host = target_test::Server().directory();
    parameters.port = target_test::Server().port();
    parameters.tls_mode = "disable";
    parameters.user = "postgres";
    parameters.database = "golden";
    auto connection = sidecar::CatalogConnection::Open(parameters, -1);
    EXPECT_TRUE(connection.ok()) << connection.status();
    auto contents = (*connection)->Load();
    EXPECT_TRUE(contents.ok()) << contents.status();
    return sql::Catalog::Build(*contents);
  }();
  return *catalog;
}

const std::vector<Query>& GoldenQueries() {
  static const std::vector<Query> queries = [] {
    static std::vector<sql::GoldenFile> files;
    for (const std::string& name : sql::GoldenFileNames()) files.push_back(sql::ReadGoldenFile(name));
    std::vector<Query> found;
    for (const sql::GoldenFile& file : files) {
      if (file.catalog != "shop.catalog" || file.options.open_catalog) continue;
      for (const sql::GoldenCase& each : file.cases) {
        const auto analysis = sql::Analyze(each.sql, ShopCatalog(), file.session);
        if (!analysis.ok() || analysis->statements.size() != 1) continue;
        const sql::Statement& statement = analysis->statements[0];
        if (statement.kind != sql::StatementKind::kQuery || statement.unanalysable.has_value()) continue;
        found.push_back({fmt::format("{}:{}", file.name, each.line), each.title, each.sql, &file, statement});
      }
    }
    return found;
  }();
  return queries;
}

std::string NameOf(const sql::ColumnId& column) { return sql::ColumnName(ShopCatalog(), column); }

}  // namespace postern::sql_test
