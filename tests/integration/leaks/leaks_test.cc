#include <fstream>
#include <iterator>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <libpq-fe.h>

#include "fmt/format.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "sidecar/catalog/catalog_loader.h"
#include "sidecar/enforce/enforcer.h"
#include "sidecar/mask/big_endian.h"
#include "sidecar/mask/mask.h"
#include "tests/integration/target/one_server.h"

namespace postern::sidecar {
namespace {

using target_test::Admin;
using target_test::Result;
using target_test::Server;
using test::PostgresServer;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::string_view kPolicy = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: everything, owner: tests}
subjects: [{agent: bot}]
targets: {databases: [shop]}
rules:
  - {id: all, effect: allow, do: [all],
     columns: {mask: {crm.customers.email: hash, crm.customers.secret_no: redact, crm.parted.email: hash}}}
)";

std::string ReadFile(const std::string& name) {
  std::ifstream file(std::string(POSTERN_SOURCE_DIR) + "/tests/integration/leaks/" + name, std::ios::binary);
  EXPECT_TRUE(file.good()) << name;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

struct Case {
  std::string name;
  std::vector<std::string> messages;
};

// A line "-- name" begins a case that has messages; ";;" ends each message.
std::vector<Case> ReadCases(const std::string& file) {
  std::vector<Case> cases;
  std::string message;
  const std::string text = ReadFile(file);
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    const std::string line = text.substr(at, end - at);
    at = end + 1;
    if (line.starts_with("-- ")) {
      cases.push_back({line.substr(3), {}});
    } else if (line.ends_with(";;")) {
      message += line.substr(0, line.size() - 2);
      cases.back().messages.push_back(std::exchange(message, ""));
    } else if (!line.empty()) {
      message += line + "\n";
    }
  }
  std::erase_if(cases, [](const Case& c) { return c.messages.empty(); });
  return cases;
}

// The policy, with placeholders in place of refusals or without.
std::shared_ptr<const policy::CompiledPolicy> Compile(bool placeholders = false) {
  v1::PolicyDocument document;
  document.set_path("everything.yaml");
  std::string text(kPolicy);
  if (placeholders) text.insert(text.find("}}}") + 1, ", in_expression: placeholder");
  document.set_text(text);
  const policy::LoadResult loaded = policy::Load({document});
  for (const auto& finding : loaded.findings)
    EXPECT_NE(finding.severity(), v1::PolicyFinding::ERROR) << finding.message();
  v1::PolicySet set;
  set.set_revision(1);
  for (const v1::Policy& policy : loaded.policies) *set.add_policies() = policy;
  auto compiled = policy::CompiledPolicy::Compile(set);
  EXPECT_TRUE(compiled.ok()) << compiled.status();
  return *compiled;
}

// One session, judged and masked as the sidecar does it, in simple queries.
class GuardedSession {
 public:
  GuardedSession(Enforcer& enforcer, std::shared_ptr<const policy::CompiledPolicy> policy)
      : enforcer_(enforcer),
        policy_(std::move(policy)),
        conn_(PQconnectdb(fmt::format("host={} port={} user=postgres dbname=shop options='-c role={}'",
                                      Server().directory(), Server().port(), PostgresServer::kRole)
                              .c_str())) {
    EXPECT_EQ(PQstatus(conn_), CONNECTION_OK) << PQerrorMessage(conn_);
    PQsetNoticeReceiver(conn_, &GuardedSession::OnNotice, this);
    state_.SetDefaults({"app", "public"}, PostgresServer::kRole);
    if (enforcer_.catalog() == nullptr) ReadCatalog();
  }
  ~GuardedSession() { PQfinish(conn_); }
  GuardedSession(const GuardedSession&) = delete;
  GuardedSession& operator=(const GuardedSession&) = delete;

  // False if it was refused.
  bool Send(const std::string& text) {
    if (state_.search_path_uncertain()) {
      const Result shown(PQexec(conn_, "SHOW search_path"));
      if (PQntuples(shown.get()) == 1) state_.ConfirmSearchPath(PQgetvalue(shown.get(), 0, 0));
    }
    plan_ = enforcer_.Judge(identity_, state_, *policy_, text);
    if (plan_->verdict != policy::Verdict::kAllow) return false;
    state_.OnQueryStart();
    const auto changed = plan_->changed == nullptr ? nullptr : ChangeFor(*plan_, text);
    EXPECT_EQ(changed == nullptr, plan_->changed == nullptr) << text;
    const std::string& forwarded = changed == nullptr ? text : changed->forwarded;
    EXPECT_EQ(PQsendQuery(conn_, forwarded.c_str()), 1);
    size_t statement = 0;
    for (Result result(PQgetResult(conn_)); result != nullptr; result.reset(PQgetResult(conn_))) {
      Show(result.get(), statement++);
    }
    const PGTransactionStatusType status = PQtransactionStatus(conn_);
    state_.OnReadyForQuery(status == PQTRANS_IDLE ? 'I' : status == PQTRANS_INTRANS ? 'T' : 'E');
    if (state_.TakeCatalogChange()) ReadCatalog();
    return true;
  }

  // All that a client has seen.
  const std::string& seen() const { return seen_; }
  std::string refusal() const { return plan_->DenyFields().detail; }

 private:
  void ReadCatalog() {
    ConnectionParameters parameters;
    parameters.host = Server().directory();
    parameters.port = Server().port();
    parameters.tls_mode = "disable";
    parameters.user = "postgres";
    parameters.database = PostgresServer::kDatabase;
    parameters.role = PostgresServer::kRole;
    auto connection = CatalogConnection::Open(parameters, -1);
    ASSERT_TRUE(connection.ok()) << connection.status();
    auto contents = (*connection)->Load();
    ASSERT_TRUE(contents.ok()) << contents.status();
    enforcer_.SetCatalog(sql::Catalog::Build(*contents));
  }

  void Show(const PGresult* result, size_t index) {
    const ExecStatusType status = PQresultStatus(result);
    if (status == PGRES_FATAL_ERROR) {
      state_.OnError();
      ShowError(result);
      return;
    }
    if (index >= plan_->analysis->statements.size()) return;
    const sql::Statement& statement = plan_->analysis->statements[index];
    bool withheld = false;
    if (status == PGRES_TUPLES_OK) withheld = !ShowRows(result, index, statement);
    if (status == PGRES_COPY_OUT) withheld = !ShowCopy(PQnfields(result), index, statement);
    if (withheld) return;
    seen_ += PQcmdStatus(const_cast<PGresult*>(result));
    state_.OnStatementComplete(statement, *plan_, index, PQcmdStatus(const_cast<PGresult*>(result)));
  }

  bool ShowRows(const PGresult* result, size_t index, const sql::Statement& statement) {
    std::vector<RowField> fields;
    for (int i = 0; i < PQnfields(result); ++i) {
      fields.push_back({PQfname(result, i), PQftable(result, i), static_cast<int16_t>(PQftablecol(result, i)),
                        PQftype(result, i), static_cast<int16_t>(PQfformat(result, i))});
    }
    const auto masks =
        BindMasks(plan_->decisions[index], statement, fields, *enforcer_.MaskedOrigins(identity_, *policy_));
    if (!masks.ok()) return false;
    for (const RowField& field : fields) seen_ += field.name + "|";
    for (int row = 0; row < PQntuples(result); ++row) {
      std::string body;
      mask::AppendUint16(static_cast<uint16_t>(fields.size()), &body);
      for (int i = 0; i < PQnfields(result); ++i) {
        const bool null = PQgetisnull(result, row, i) == 1;
        const auto length = static_cast<size_t>(PQgetlength(result, row, i));
        mask::AppendUint32(null ? 0xffffffff : static_cast<uint32_t>(length), &body);
        if (!null) body.append(PQgetvalue(result, row, i), length);
      }
      const absl::Status status = mask::RewriteDataRow(masker_, *masks, body, &seen_);
      EXPECT_TRUE(status.ok()) << status;
    }
    return true;
  }

  bool ShowCopy(int columns, size_t index, const sql::Statement& statement) {
    const auto masks = BindCopyMasks(plan_->decisions[index], statement, columns, *enforcer_.catalog(),
                                     *enforcer_.MaskedOrigins(identity_, *policy_));
    std::optional<mask::CopyMasker> copy;
    if (masks.ok()) copy.emplace(masker_, *statement.copy, columns, *masks);
    char* payload = nullptr;
    for (int size = PQgetCopyData(conn_, &payload, 0); size >= 0; size = PQgetCopyData(conn_, &payload, 0)) {
      if (copy) {
        const absl::Status status = copy->Consume({payload, static_cast<size_t>(size)}, &seen_);
        EXPECT_TRUE(status.ok()) << status;
      }
      PQfreemem(payload);
    }
    return masks.ok();
  }

  void ShowError(const PGresult* result) {
    std::string body;
    for (const char type : {'S', 'V', 'C', 'M', 'D', 'H', 'P', 'p', 'q', 'W', 's', 't', 'c', 'd', 'n'}) {
      const char* text = PQresultErrorField(result, type);
      if (text != nullptr) body.append(1, type).append(text).push_back('\0');
    }
    body.push_back('\0');
    seen_ += plan_->sensitive ? mask::ScrubErrorFields(body) : body;
  }

  static void OnNotice(void* self, const PGresult* result) { static_cast<GuardedSession*>(self)->ShowError(result); }

  Enforcer& enforcer_;
  const std::shared_ptr<const policy::CompiledPolicy> policy_;
  const SessionIdentity identity_ = SessionIdentity::Make({"bot", "", {}}, {"t", PostgresServer::kDatabase, "prod"},
                                                          {{"all"}, {}}, PostgresServer::kRole);
  const mask::Masker masker_{"a key of the test"};
  SessionState state_;
  std::shared_ptr<const Plan> plan_;
  std::string seen_;
  PGconn* conn_;
};

class Leaks : public ::testing::Test {
 protected:
  Leaks() {
    static const bool made = [] {
      Admin().Run(ReadFile("schema.sql"));
      return true;
    }();
    EXPECT_TRUE(made);
  }

  int RunLeaks(const std::shared_ptr<const policy::CompiledPolicy>& policy);

  Enforcer enforcer_;
};

// How many cases went through. No canary may be seen in any.
int Leaks::RunLeaks(const std::shared_ptr<const policy::CompiledPolicy>& policy) {
  const std::vector<Case> cases = ReadCases("leaks.sql");
  EXPECT_GT(cases.size(), 80U);
  int ran = 0;
  for (const Case& c : cases) {
    GuardedSession session(enforcer_, policy);
    bool sent = true;
    for (const std::string& message : c.messages) sent = session.Send(message) && sent;
    EXPECT_THAT(session.seen(), Not(HasSubstr("CANARY"))) << c.name;
    EXPECT_THAT(session.seen(), Not(HasSubstr("canary"))) << c.name;
    if (sent) ++ran;
  }
  return ran;
}

TEST_F(Leaks, NoCanaryIsSeen) {
  const int ran = RunLeaks(Compile());
  RecordProperty("ran_masked", ran);
  EXPECT_GE(ran, 15);  // the bare column in its many forms is masked, not refused
}

TEST_F(Leaks, NoCanaryIsSeenWithPlaceholders) {
  const int ran = RunLeaks(Compile(/*placeholders=*/true));
  RecordProperty("ran_with_placeholders", ran);
  EXPECT_GE(ran, 60);  // expressions and conditions as well
}

TEST_F(Leaks, TheCanariesAreThere) {
  EXPECT_EQ(Admin().Value("SELECT count(*) FROM crm.customers WHERE email LIKE 'CANARY%'"), "5");
  EXPECT_EQ(Admin().Value("SELECT count(*) FROM crm.upped WHERE shown LIKE 'CANARY%'"), "5");
}

TEST_F(Leaks, BenignStatementsRun) {
  const auto policy = Compile();
  for (const Case& c : ReadCases("benign.sql")) {
    GuardedSession session(enforcer_, policy);
    for (const std::string& message : c.messages) {
      EXPECT_TRUE(session.Send(message)) << c.name << ": " << message << ": " << session.refusal();
    }
    const size_t shows = c.name.find(" shows ");
    ASSERT_NE(shows, std::string::npos) << c.name;
    EXPECT_THAT(session.seen(), HasSubstr(c.name.substr(shows + 7))) << c.name;
    EXPECT_THAT(session.seen(), Not(HasSubstr("CANARY"))) << c.name;
  }
}

}  // namespace
}  // namespace postern::sidecar
