// What psql's \d commands, drivers and ORMs ask the system catalogs is understood, and allowed under a read policy.
#include <array>
#include <cstdio>
#include <fstream>
#include <iterator>

#include "common/policy/policy.h"
#include "fmt/format.h"
#include "gmock/gmock.h"
#include "tests/integration/sql/shop_server.h"

namespace postern::sql_test {
namespace {

constexpr std::string_view kPolicy = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: readers}
subjects: [{agent: bot}]
rules:
  - {id: read, effect: allow, do: [select], objects: [app.*, crm.*],
     columns: {mask: {app.customers.email: hash, crm.staff.pin: redact}}}
)";

std::shared_ptr<const policy::CompiledPolicy> Policy() {
  v1::PolicyDocument document;
  document.set_path("readers.yaml");
  document.set_text(std::string(kPolicy));
  v1::PolicySet set;
  for (const v1::Policy& each : policy::Load({document}).policies) *set.add_policies() = each;
  auto compiled = policy::CompiledPolicy::Compile(set);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return *compiled;
}

void ExpectAllowed(const policy::CompiledPolicy& policy, const std::string& text) {
  sql::SessionView session;
  session.search_path = {"app", "public"};
  const auto analysis = sql::Analyze(text, ShopCatalog(), session);
  ASSERT_TRUE(analysis.ok()) << analysis.status() << ": " << text;
  for (const sql::Statement& statement : analysis->statements) {
    EXPECT_EQ(statement.unanalysable, std::nullopt) << text;
    const policy::Decision decision =
        policy.Judge({"bot", "", {}}, {"t", "golden", "prod"}, {{"all"}, {}}, statement, ShopCatalog());
    EXPECT_EQ(decision.verdict, policy::Verdict::kAllow) << decision.reason << ": " << text;
    EXPECT_TRUE(decision.masks.empty()) << text;
  }
}

// The output columns are as many, and of the names, that the server says.
void ExpectColumns(const Shop& shop, const std::string& text) {
  sql::SessionView session;
  session.search_path = {"app", "public"};
  const auto analysis = sql::Analyze(text, ShopCatalog(), session);
  ASSERT_TRUE(analysis.ok());
  if (analysis->statements.size() != 1 || !analysis->statements[0].outputs_known) return;
  const Result prepared(PQprepare(shop.conn(), "", text.c_str(), 0, nullptr));
  ASSERT_TRUE(Good(prepared)) << text << PQerrorMessage(shop.conn());
  const Result described(PQdescribePrepared(shop.conn(), ""));
  std::vector<std::string> mine, servers;
  for (const sql::OutputColumn& output : analysis->statements[0].outputs) mine.push_back(output.name);
  for (int i = 0; i < PQnfields(described.get()); ++i) servers.emplace_back(PQfname(described.get(), i));
  EXPECT_EQ(mine, servers) << text;
}

TEST(Metadata, OfDriversAndOrmsIsAllowed) {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/tests/integration/sql/metadata.sql");
  std::string text;
  int statements = 0;
  const auto policy = Policy();
  const Shop shop;
  shop.UsePath({"app", "public"});
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("--")) continue;
    text += line + "\n";
    if (!line.ends_with(";;")) continue;
    text.resize(text.size() - 3);
    ExpectAllowed(*policy, text);
    ExpectColumns(shop, text);
    text.clear();
    ++statements;
  }
  EXPECT_GT(statements, 40);
}

// What `psql -E` prints between its lines of stars.
std::vector<std::string> QueriesOfPsql(const std::string& command) {
  const std::string line = fmt::format("psql -X -E -h {} -p {} -U postgres -d golden -c '{}' 2>&1",
                                       target_test::Server().directory(), target_test::Server().port(), command);
  std::vector<std::string> queries;
  FILE* pipe = popen(line.c_str(), "r");
  if (pipe == nullptr) return queries;
  bool within = false;
  std::string text;
  std::array<char, 65536> buffer{};
  while (fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    const std::string read(buffer.data());
    if (!read.starts_with("********")) {
      if (within) text += read;
      continue;
    }
    if (within) queries.push_back(std::exchange(text, ""));
    within = read.find("QUERY") != std::string::npos;
  }
  pclose(pipe);
  return queries;
}

constexpr const char* kCommands[] = {"\\d",
                                     "\\d app.*",
                                     "\\d+ app.customers",
                                     "\\d+ app.contact_list",
                                     "\\d+ app.events",
                                     "\\d+ app.events_2025",
                                     "\\d+ app.people",
                                     "\\d app.orders_pkey",
                                     "\\d app.orders_id_seq",
                                     "\\d+ app.remote_prices",
                                     "\\dt+ *.*",
                                     "\\dv+ *.*",
                                     "\\dm+",
                                     "\\di+ *.*",
                                     "\\ds *.*",
                                     "\\df+ app.*",
                                     "\\da",
                                     "\\dn+",
                                     "\\du+",
                                     "\\l+",
                                     "\\dT+ *.*",
                                     "\\do scratch.*",
                                     "\\dx+",
                                     "\\dp *.*",
                                     "\\ddp",
                                     "\\dD",
                                     "\\dc",
                                     "\\dC",
                                     "\\dd",
                                     "\\des+",
                                     "\\dew+",
                                     "\\det+",
                                     "\\dF+",
                                     "\\dFd",
                                     "\\dFp",
                                     "\\dFt",
                                     "\\dL+",
                                     "\\dO",
                                     "\\dA+",
                                     "\\dAc",
                                     "\\dAf",
                                     "\\dAo",
                                     "\\dAp",
                                     "\\db+",
                                     "\\dP+ *.*",
                                     "\\drds",
                                     "\\dRp+",
                                     "\\dy",
                                     "\\dX",
                                     "\\dconfig+",
                                     "\\sf app.fill_title",
                                     "\\sv app.contact_list",
                                     "\\dl"};

// Subscriptions and user mappings are left out: they hold passwords, and need the named permission.
TEST(Metadata, OfPsqlIsAllowed) {
  const auto policy = Policy();
  const Shop shop;
  size_t queries = 0;
  for (const char* command : kCommands) {
    const std::vector<std::string> found = QueriesOfPsql(command);
    EXPECT_FALSE(found.empty()) << command;
    for (const std::string& query : found) ExpectAllowed(*policy, query);
    queries += found.size();
  }
  EXPECT_GT(queries, 150U);
}

}  // namespace
}  // namespace postern::sql_test
