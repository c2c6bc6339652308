// The gateway before a real PostgreSQL 15, spoken to by libpq: TLS and SCRAM upstream, tokens as passwords, decisions,
// holds, masks, COPY, cancellation, revocation, and the audit records of all of it.
#include <array>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <thread>

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libpq-fe.h>
#include <sys/socket.h>
#include <unistd.h>

#include "common/base/clock.h"
#include "common/base/random.h"
#include "fmt/format.h"
#include "sidecar/session/gateway.h"
#include "sidecar/spool/spool.h"
#include "sidecar/wire/build.h"
#include "sidecar/wire/framing.h"
#include "tests/integration/session/postgres_server.h"
#include "tests/integration/session/test_uplink.h"

namespace postern::session_test {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr const char* kPolicy = R"(
apiVersion: postern/v1
kind: Policy
metadata: {name: desk, owner: tests}
subjects: [{agent: support-bot}]
targets: {databases: [shop]}
session: {role: app_agent, ttl: 10m}
rules:
  - id: read
    effect: allow
    do: [select]
    objects: [app.*]
    columns: {mask: {app.customers.email: redact, app.customers.phone: last4}}
  - {id: write, effect: allow, do: [insert], objects: [app.orders]}
  - {id: copy, effect: allow, do: [copy_in, copy_out]}
  - id: one-order
    effect: allow
    do: [update]
    objects: [app.orders]
    affected: {rows_max: 2}
  - id: delete-order
    effect: hold
    do: [delete]
    objects: [app.orders]
    hold: {by: [leads], approvals: 1, request_ttl: 30m, use_within: 5m}
)";

struct ConnCloser {
  void operator()(PGconn* conn) const { PQfinish(conn); }
};
using Conn = std::unique_ptr<PGconn, ConnCloser>;
struct ResultClearer {
  void operator()(PGresult* result) const { PQclear(result); }
};
using Result = std::unique_ptr<PGresult, ResultClearer>;

Result Query(const Conn& conn, const char* sql) { return Result(PQexec(conn.get(), sql)); }
std::string State(const Result& result) {
  const char* state = PQresultErrorField(result.get(), PG_DIAG_SQLSTATE);
  return state == nullptr ? "" : state;
}
std::string Message(const Result& result) { return PQresultErrorMessage(result.get()); }

class GateTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() { server_ = new PostgresServer(); }
  static void TearDownTestSuite() {
    delete server_;
    server_ = nullptr;
  }

  void SetUp() override {
    v1::Target target;
    target.set_name("demo");
    target.set_host("127.0.0.1");
    target.set_port(server_->port());
    target.set_default_database("shop");
    target.set_tls_mode("verify-full");
    target.set_tls_ca_pem(server_->ca_pem());
    target.set_login_role(PostgresServer::kLogin);
    uplink_ = std::make_unique<TestUplink>(target, PostgresServer::kLogin, PostgresServer::kPassword);
    uplink_->SetPolicy(kPolicy);
    spool::Options options;
    char name[] = "/tmp/postern-spool-XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    spool_directory_ = name;
    options.directory = spool_directory_;
    options.writer = "sdc_test";
    auto spool = spool::Spool::Open(options, spool::FileSystem::System(), Clock::System(), Random::System());
    ASSERT_TRUE(spool.ok()) << spool.status();
    spool_ = *std::move(spool);
    session::GatewayOptions gateway;
    gateway.listen = {"127.0.0.1:0"};
    gateway.unix_socket_dir = server_->directory();
    gateway.tls_certificate_file = server_->certificate_file();
    gateway.tls_key_file = server_->key_file();
    gateway.limits.startup_deadline = absl::Seconds(3);
    auto made = session::Gateway::Create(gateway, *uplink_, *spool_, Clock::System(), Random::System());
    ASSERT_TRUE(made.ok()) << made.status();
    gateway_ = *std::move(made);
    uplink_->SetListener(gateway_.get());
    gateway_->Start();
    admin_.reset(PQconnectdb(server_->admin_uri().c_str()));
    ASSERT_EQ(PQstatus(admin_.get()), CONNECTION_OK) << PQerrorMessage(admin_.get());
  }

  void TearDown() override {
    gateway_.reset();
    spool_.reset();
    std::filesystem::remove_all(spool_directory_);
  }

  Conn Connect(const std::string& password, const std::string& more = "") {
    Conn conn(PQconnectdb(fmt::format("host=127.0.0.1 port={} user=me dbname=shop sslmode=require password='{}' {}",
                                      gateway_->port(), password, more)
                              .c_str()));
    PQsetNoticeReceiver(
        conn.get(),
        [](void* self, const PGresult* result) {
          static_cast<GateTest*>(self)->notices_ += PQresultErrorMessage(result);
        },
        this);
    return conn;
  }
  Conn Open(const std::string& grant = "grt_1", const std::string& more = "") {
    Conn conn = Connect(uplink_->Token(grant), more);
    EXPECT_EQ(PQstatus(conn.get()), CONNECTION_OK) << PQerrorMessage(conn.get());
    return conn;
  }
  std::string Admin(const std::string& sql) {
    const Result result(PQexec(admin_.get(), sql.c_str()));
    EXPECT_THAT(Message(result), IsEmpty()) << sql;
    return PQntuples(result.get()) > 0 ? PQgetvalue(result.get(), 0, 0) : "";
  }
  // Waits for the server to have `count` statements of agents under way.
  void WaitForActive(const std::string& count) {
    const absl::Time give_up = absl::Now() + absl::Seconds(10);
    std::string seen;
    do {
      seen = Admin(
          "select count(*) from pg_stat_activity where state = 'active' and query like 'select count(*) from "
          "app.orders a%'");
    } while (seen != count && absl::Now() < give_up);
    EXPECT_EQ(seen, count);
  }
  // What the client hears until the connection is closed. libpq treats errors that come while idle as notices.
  std::string WaitForEnd(const Conn& conn) {
    const absl::Time give_up = absl::Now() + absl::Seconds(5);
    while (PQstatus(conn.get()) == CONNECTION_OK && absl::Now() < give_up) {
      PQconsumeInput(conn.get());
      PQisBusy(conn.get());
    }
    PQisBusy(conn.get());
    return notices_ + PQerrorMessage(conn.get());
  }
  // All records so far.
  std::vector<v1::AuditRecord> Records() {
    EXPECT_TRUE(spool_->Sync().ok());
    std::vector<v1::AuditRecord> records;
    spool::Position after = spool_->acknowledged();
    for (;;) {
      auto batch = spool_->Read(after, 1 << 20);
      EXPECT_TRUE(batch.ok()) << batch.status();
      if (!batch.ok() || batch->empty()) return records;
      for (const auto& chained : *batch) {
        records.emplace_back();
        records.back().ParseFromString(chained.record());
        after = {chained.epoch(), chained.sequence()};
      }
    }
  }

  static PostgresServer* server_;
  std::unique_ptr<TestUplink> uplink_;
  std::string spool_directory_;
  std::unique_ptr<spool::Spool> spool_;
  std::unique_ptr<session::Gateway> gateway_;
  Conn admin_;
  std::string notices_;
};
PostgresServer* GateTest::server_ = nullptr;

TEST_F(GateTest, OnlyAValidTokenOpensASession) {
  struct Case {
    const char* name;
    std::string password;
    const char* text;
  };
  uplink_->SetPolicy(kPolicy);
  const std::string revoked = uplink_->Token("grt_revoked");
  uplink_->Revoke("grt_revoked");
  const Case cases[] = {
      {"nonsense", "hunter2", "not a valid token"},
      {"expired", uplink_->Token("grt_old", absl::Seconds(-1)), "not a valid token"},
      {"revoked", revoked, "revoked"},
      {"other database", uplink_->Token("grt_db", absl::Minutes(1), "postgres"), "database"},
  };
  for (const Case& c : cases) {
    const Conn conn = Connect(c.password);
    EXPECT_EQ(PQstatus(conn.get()), CONNECTION_BAD) << c.name;
    EXPECT_THAT(PQerrorMessage(conn.get()), HasSubstr(c.text)) << c.name;
    EXPECT_THAT(PQerrorMessage(conn.get()), Not(HasSubstr(c.password))) << c.name;
  }
  int refused = 0;
  for (const auto& record : Records()) refused += record.kind() == v1::SESSION_REFUSED;
  EXPECT_EQ(refused, 4);
}

TEST_F(GateTest, TlsPlaintextAndUnixSocketAllLetAClientIn) {
  for (const char* how : {"sslmode=require", "sslmode=disable", "sslmode=prefer gssencmode=prefer"}) {
    const Conn conn = Open("grt_1", how);
    EXPECT_STREQ(PQgetvalue(Query(conn, "select 41 + 1").get(), 0, 0), "42") << how;
  }
  const Conn socket(PQconnectdb(fmt::format("host={} port={} user=me dbname=shop password={}", server_->directory(),
                                            gateway_->port(), uplink_->Token("grt_1"))
                                    .c_str()));
  EXPECT_EQ(PQstatus(socket.get()), CONNECTION_OK) << PQerrorMessage(socket.get());
}

TEST_F(GateTest, TheServerSeesTheRoleAndTheActorAndTheClientSeesAKeyOfOurOwn) {
  const Conn conn = Open("grt_1", "application_name=tool");
  EXPECT_STREQ(PQgetvalue(Query(conn, "select current_user").get(), 0, 0), "app_agent");
  EXPECT_EQ(Admin("select application_name from pg_stat_activity where usename = 'postern_login' and application_name "
                  "like 'tool%'"),
            "tool/postern:support-bot/grt_1");
  EXPECT_NE(std::to_string(PQbackendPID(conn.get())),
            Admin("select pid from pg_stat_activity where application_name like 'tool/%'"));
}

TEST_F(GateTest, MaskedColumnsAreMaskedInBothProtocolsAndBothFormats) {
  const Conn conn = Open();
  const char* sql = "select id, name, email as x, phone from app.customers order by id limit 2";
  const Result simple = Query(conn, sql);
  ASSERT_EQ(PQresultStatus(simple.get()), PGRES_TUPLES_OK) << Message(simple);
  EXPECT_STREQ(PQgetvalue(simple.get(), 0, 1), "name 1");
  EXPECT_THAT(PQgetvalue(simple.get(), 0, 2), Not(HasSubstr("user1")));
  EXPECT_THAT(PQgetvalue(simple.get(), 0, 3), Not(HasSubstr("+49 30 123")));
  const Result prepared(PQprepare(conn.get(), "s", sql, 0, nullptr));
  ASSERT_EQ(PQresultStatus(prepared.get()), PGRES_COMMAND_OK) << Message(prepared);
  for (int format = 0; format <= 1; ++format) {
    for (int again = 0; again < 3; ++again) {
      const Result rows(PQexecPrepared(conn.get(), "s", 0, nullptr, nullptr, nullptr, format));
      ASSERT_EQ(PQntuples(rows.get()), 2) << Message(rows);
      EXPECT_STREQ(PQgetvalue(rows.get(), 0, 2), PQgetvalue(simple.get(), 0, 2));
      EXPECT_STREQ(PQgetvalue(rows.get(), 0, 3), PQgetvalue(simple.get(), 0, 3));
    }
  }
}

TEST_F(GateTest, ADeniedStatementLeavesTheSessionUsable) {
  const Conn conn = Open();
  const Result denied = Query(conn, "drop table app.orders");
  EXPECT_EQ(State(denied), "42501");
  EXPECT_THAT(Message(denied), HasSubstr("postern:"));
  EXPECT_EQ(PQtransactionStatus(conn.get()), PQTRANS_IDLE);
  EXPECT_STREQ(PQgetvalue(Query(conn, "select count(*) from app.orders").get(), 0, 0), "50");
  EXPECT_EQ(State(Query(conn, "select upper(email) from app.customers")), "42501");
  EXPECT_EQ(State(Query(conn, "selec 1")), "42601");
  EXPECT_EQ(State(Query(conn, "set role postgres")), "42501");
  EXPECT_EQ(State(Query(conn, "set standard_conforming_strings = off")), "42501");
}

TEST_F(GateTest, ADenialInsideATransactionAbortsItAsTheServerWould) {
  const Conn conn = Open();
  Query(conn, "begin");
  ASSERT_EQ(PQresultStatus(Query(conn, "insert into app.orders values (900, 1, 'open', 1)").get()), PGRES_COMMAND_OK);
  EXPECT_EQ(State(Query(conn, "drop table app.orders")), "42501");
  EXPECT_EQ(PQtransactionStatus(conn.get()), PQTRANS_INERROR);
  EXPECT_EQ(State(Query(conn, "select 1")), "25P02");
  Query(conn, "rollback");
  EXPECT_EQ(PQtransactionStatus(conn.get()), PQTRANS_IDLE);
  EXPECT_EQ(Admin("select count(*) from app.orders where id = 900"), "0");
}

TEST_F(GateTest, ADenialInAPipelineSkipsToSyncAndUndoesWhatCameBefore) {
  const Conn conn = Open();
  ASSERT_EQ(PQenterPipelineMode(conn.get()), 1);
  PQsendQueryParams(conn.get(), "insert into app.orders values (901, 1, 'open', 1)", 0, nullptr, nullptr, nullptr,
                    nullptr, 0);
  PQsendQueryParams(conn.get(), "delete from app.customers where id = $1", 1, nullptr,
                    std::array<const char*, 1>{"1"}.data(), nullptr, nullptr, 0);
  PQsendQueryParams(conn.get(), "select 1", 0, nullptr, nullptr, nullptr, nullptr, 0);
  PQpipelineSync(conn.get());
  std::vector<std::string> seen;
  for (int nulls = 0; nulls < 4;) {
    const Result result(PQgetResult(conn.get()));
    if (result == nullptr) {
      ++nulls;
      continue;
    }
    seen.push_back(PQresultStatus(result.get()) == PGRES_FATAL_ERROR ? State(result)
                                                                     : PQresStatus(PQresultStatus(result.get())));
    if (PQresultStatus(result.get()) == PGRES_PIPELINE_SYNC) break;
  }
  EXPECT_THAT(seen,
              ::testing::ElementsAre("PGRES_COMMAND_OK", "42501", "PGRES_PIPELINE_ABORTED", "PGRES_PIPELINE_SYNC"));
  ASSERT_EQ(PQexitPipelineMode(conn.get()), 1) << PQerrorMessage(conn.get());
  EXPECT_EQ(Admin("select count(*) from app.orders where id = 901"), "0");
  EXPECT_STREQ(PQgetvalue(Query(conn, "select 7").get(), 0, 0), "7");
}

TEST_F(GateTest, AHeldStatementRunsOnceItIsApproved) {
  const Conn conn = Open();
  const std::string before = Admin("select count(*) from app.orders where id = 10");
  ASSERT_EQ(PQsendQuery(conn.get(), "delete from app.orders where id = 10"), 1);
  const v1::Approval approval = uplink_->WaitForApproval(1);
  EXPECT_EQ(approval.binding().sql(), "delete from app.orders where id = 10");
  EXPECT_EQ(approval.binding().role(), "app_agent");
  EXPECT_EQ(Admin("select count(*) from pg_stat_activity where query like 'delete%'"), "0") << "nothing goes upstream";
  EXPECT_EQ(Admin("select count(*) from app.orders where id = 10"), before);
  uplink_->Decide(approval.id(), v1::APPROVAL_APPROVED);
  const Result done(PQgetResult(conn.get()));
  EXPECT_STREQ(PQcmdTuples(done.get()), before.c_str()) << Message(done);
  EXPECT_THAT(notices_, HasSubstr("postern: held for approval " + approval.id()));
  EXPECT_EQ(uplink_->Get(approval.id()).state(), v1::APPROVAL_USED);
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  std::vector<std::string> holds;
  for (const auto& record : Records()) {
    if (record.kind() == v1::HOLD) holds.push_back(record.action());
    if (record.kind() == v1::STATEMENT_INTENT && record.decision() == "hold") {
      EXPECT_EQ(record.approval_id(), approval.id());
    }
  }
  EXPECT_THAT(holds, ::testing::ElementsAre("held", "APPROVAL_APPROVED", "claimed"));
}

TEST_F(GateTest, AHeldPreparedStatementBindsItsValues) {
  const Conn conn = Open();
  ASSERT_EQ(
      PQresultStatus(Result(PQprepare(conn.get(), "d", "delete from app.orders where id = $1", 0, nullptr)).get()),
      PGRES_COMMAND_OK);
  const char* values[] = {"11"};
  ASSERT_EQ(PQsendQueryPrepared(conn.get(), "d", 1, values, nullptr, nullptr, 0), 1);
  const v1::Approval approval = uplink_->WaitForApproval(1);
  ASSERT_EQ(approval.binding().values_size(), 1);
  EXPECT_EQ(approval.binding().values(0).value(), "11");
  uplink_->Decide(approval.id(), v1::APPROVAL_DENIED, "not this one");
  const Result denied(PQgetResult(conn.get()));
  EXPECT_EQ(State(denied), "42501");
  EXPECT_THAT(PQresultErrorField(denied.get(), PG_DIAG_MESSAGE_DETAIL), HasSubstr("not this one"));
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  EXPECT_EQ(Admin("select count(*) from app.orders where id = 11"), "1");
  EXPECT_STREQ(PQgetvalue(Query(conn, "select 1").get(), 0, 0), "1");
}

TEST_F(GateTest, CancellingAHeldStatementAnswers57014AndWithdraws) {
  const Conn conn = Open();
  ASSERT_EQ(PQsendQuery(conn.get(), "delete from app.orders where id = 12"), 1);
  const v1::Approval approval = uplink_->WaitForApproval(1);
  std::unique_ptr<PGcancel, void (*)(PGcancel*)> cancel(PQgetCancel(conn.get()), PQfreeCancel);
  char error[256];
  ASSERT_EQ(PQcancel(cancel.get(), error, sizeof(error)), 1) << error;
  const Result result(PQgetResult(conn.get()));
  EXPECT_EQ(State(result), "57014");
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  const auto withdrawn = uplink_->WaitForWithdrawn(1);
  ASSERT_EQ(withdrawn.size(), 1u);
  EXPECT_EQ(withdrawn[0].id(), approval.id());
  EXPECT_STREQ(PQgetvalue(Query(conn, "select 1").get(), 0, 0), "1");
}

TEST_F(GateTest, AClientThatGoesAwayWhileHeldWithdraws) {
  Conn conn = Open();
  ASSERT_EQ(PQsendQuery(conn.get(), "delete from app.orders where id = 13"), 1);
  const v1::Approval approval = uplink_->WaitForApproval(1);
  conn.reset();
  const auto withdrawn = uplink_->WaitForWithdrawn(1);
  ASSERT_EQ(withdrawn.size(), 1u);
  uplink_->Decide(approval.id(), v1::APPROVAL_APPROVED);
  EXPECT_EQ(Admin("select count(*) from app.orders where id = 13"), "1");
}

TEST_F(GateTest, APolicyChangeWhileHeldMakesItsApprovalWorthless) {
  const Conn conn = Open();
  ASSERT_EQ(PQsendQuery(conn.get(), "delete from app.orders where id = 14"), 1);
  const v1::Approval first = uplink_->WaitForApproval(1);
  uplink_->SetPolicy(kPolicy);
  uplink_->Decide(first.id(), v1::APPROVAL_APPROVED);
  const v1::Approval second = uplink_->WaitForApproval(2);
  EXPECT_EQ(second.binding().policy_revision(), first.binding().policy_revision() + 1);
  uplink_->Decide(second.id(), v1::APPROVAL_EXPIRED);
  const Result result(PQgetResult(conn.get()));
  EXPECT_EQ(State(result), "42501");
  EXPECT_THAT(Message(result), HasSubstr("expired"));
  EXPECT_NE(uplink_->Get(first.id()).state(), v1::APPROVAL_USED);
}

TEST_F(GateTest, WithoutTheControlPlaneHeldStatementsAndNewSessionsFailRetryably) {
  const Conn conn = Open();
  uplink_->SetConnected(false);
  EXPECT_EQ(State(Query(conn, "delete from app.orders where id = 15")), "57P03");
  EXPECT_STREQ(PQgetvalue(Query(conn, "select 1").get(), 0, 0), "1") << "what is granted goes on";
  const Conn late = Connect(uplink_->Token("grt_2"));
  EXPECT_EQ(PQstatus(late.get()), CONNECTION_BAD);
  EXPECT_THAT(PQerrorMessage(late.get()), HasSubstr("control plane"));
}

TEST_F(GateTest, CopyOutIsMaskedAndCopyInCounts) {
  const Conn conn = Open();
  const Result out = Query(conn, "copy (select id, email from app.customers order by id limit 3) to stdout");
  ASSERT_EQ(PQresultStatus(out.get()), PGRES_COPY_OUT) << Message(out);
  std::string copied;
  for (char* row = nullptr; PQgetCopyData(conn.get(), &row, 0) > 0; PQfreemem(row)) copied += row;
  EXPECT_THAT(copied, HasSubstr("3\t"));
  EXPECT_THAT(copied, Not(HasSubstr("@example.com")));
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  ASSERT_EQ(PQresultStatus(Query(conn, "copy app.orders from stdin").get()), PGRES_COPY_IN);
  for (int i = 1000; i < 3000; ++i) {
    const std::string row = fmt::format("{}\t1\topen\t1\n", i);
    ASSERT_EQ(PQputCopyData(conn.get(), row.data(), static_cast<int>(row.size())), 1);
  }
  PQputCopyEnd(conn.get(), nullptr);
  const Result in(PQgetResult(conn.get()));
  EXPECT_STREQ(PQcmdTuples(in.get()), "2000") << Message(in);
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  ASSERT_EQ(PQresultStatus(Query(conn, "copy app.orders from stdin").get()), PGRES_COPY_IN);
  PQputCopyEnd(conn.get(), "changed my mind");
  EXPECT_EQ(State(Result(PQgetResult(conn.get()))), "57014");
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  EXPECT_STREQ(PQgetvalue(Query(conn, "select 1").get(), 0, 0), "1");
}

TEST_F(GateTest, ExtendedCopyInSurvivesTheSyncInsideIt) {
  const Conn conn = Open();
  Result in(PQexecParams(conn.get(), "copy app.orders from stdin", 0, nullptr, nullptr, nullptr, nullptr, 0));
  ASSERT_EQ(PQresultStatus(in.get()), PGRES_COPY_IN) << Message(in);
  PQputCopyData(conn.get(), "5000\t1\topen\t1\n", 14);
  PQputCopyEnd(conn.get(), nullptr);
  EXPECT_STREQ(PQcmdTuples(Result(PQgetResult(conn.get())).get()), "1");
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  EXPECT_STREQ(PQgetvalue(Query(conn, "select 1").get(), 0, 0), "1");
}

TEST_F(GateTest, TooManyAffectedRowsAreUndoneInEveryShape) {
  const Conn conn = Open();
  const char* wide = "update app.orders set status = 'x' where id <= 5";
  const char* narrow = "update app.orders set status = 'y' where id <= 2";
  EXPECT_EQ(State(Query(conn, wide)), "42501");
  EXPECT_EQ(PQtransactionStatus(conn.get()), PQTRANS_IDLE);
  EXPECT_STREQ(PQcmdTuples(Query(conn, narrow).get()), "2");
  const auto params = [&](const char* sql) {
    return Result(PQexecParams(conn.get(), sql, 0, nullptr, nullptr, nullptr, nullptr, 0));
  };
  EXPECT_EQ(State(params(wide)), "42501");
  EXPECT_STREQ(PQcmdTuples(params(narrow).get()), "2");
  Query(conn, "begin");
  EXPECT_EQ(State(Query(conn, wide)), "42501");
  EXPECT_EQ(PQtransactionStatus(conn.get()), PQTRANS_INERROR);
  Query(conn, "rollback");
  Query(conn, "begin");
  EXPECT_EQ(State(params(wide)), "42501");
  EXPECT_EQ(PQtransactionStatus(conn.get()), PQTRANS_INERROR);
  Query(conn, "rollback");
  EXPECT_EQ(Admin("select count(*) from app.orders where status = 'x'"), "0");
  EXPECT_EQ(Admin("select count(*) from app.orders where status = 'y'"), "2");
}

TEST_F(GateTest, RevocationCutsALiveSessionAtOnce) {
  const Conn conn = Open("grt_cut");
  const absl::Time start = absl::Now();
  uplink_->Revoke("grt_cut");
  EXPECT_THAT(WaitForEnd(conn), HasSubstr("revoked"));
  EXPECT_LT(absl::Now() - start, absl::Milliseconds(500));
}

TEST_F(GateTest, AnExpiredTokenEndsItsSession) {
  const Conn conn = Connect(uplink_->Token("grt_short", absl::Milliseconds(1900)));
  ASSERT_EQ(PQstatus(conn.get()), CONNECTION_OK) << PQerrorMessage(conn.get());
  EXPECT_THAT(WaitForEnd(conn), HasSubstr("expired"));
}

// Minutes of work for the server.
constexpr const char* kLongQuery =
    "select count(*) from app.orders a, app.orders b, app.orders c, app.orders d, app.orders e, app.orders f";

TEST_F(GateTest, CancelReachesTheRunningStatementAndTheSessionGoesOn) {
  const Conn conn = Open();
  ASSERT_EQ(PQsendQuery(conn.get(), kLongQuery), 1);
  WaitForActive("1");
  std::unique_ptr<PGcancel, void (*)(PGcancel*)> cancel(PQgetCancel(conn.get()), PQfreeCancel);
  char error[256];
  ASSERT_EQ(PQcancel(cancel.get(), error, sizeof(error)), 1) << error;
  EXPECT_EQ(State(Result(PQgetResult(conn.get()))), "57014");
  while (Result(PQgetResult(conn.get())) != nullptr) {
  }
  EXPECT_STREQ(PQgetvalue(Query(conn, "select 1").get(), 0, 0), "1");
}

TEST_F(GateTest, RevocationStopsTheRunningStatementAtTheServer) {
  const Conn conn = Open("grt_busy");
  ASSERT_EQ(PQsendQuery(conn.get(), kLongQuery), 1);
  WaitForActive("1");
  uplink_->Revoke("grt_busy");
  const Result ended(PQgetResult(conn.get()));
  EXPECT_EQ(State(ended), "57P01") << Message(ended);
  WaitForActive("0");
}

TEST_F(GateTest, StartupParametersCannotEscalate) {
  for (const char* options :
       {"-c role=postgres", "-c session_authorization=postgres", "-c standard_conforming_strings=off"}) {
    const Conn conn = Connect(uplink_->Token("grt_1"), fmt::format("options='{}'", options));
    EXPECT_EQ(PQstatus(conn.get()), CONNECTION_BAD) << options;
    EXPECT_THAT(PQerrorMessage(conn.get()), HasSubstr("not allowed")) << options;
  }
  const Conn allowed = Open("grt_1", "options='-c extra_float_digits=2 -c TimeZone=UTC'");
  EXPECT_STREQ(PQparameterStatus(allowed.get(), "TimeZone"), "UTC");
}

// A connection of bytes, for what libpq does not send.
class RawClient {
 public:
  explicit RawClient(int port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<uint16_t>(port));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)), 0);
  }
  ~RawClient() { close(fd_); }
  void Send(const std::string& bytes) {
    EXPECT_EQ(send(fd_, bytes.data(), bytes.size(), MSG_NOSIGNAL), static_cast<ssize_t>(bytes.size()));
  }
  std::string ReadToEnd() {
    std::string all;
    char buffer[4096];
    for (ssize_t n = 0; (n = recv(fd_, buffer, sizeof(buffer), 0)) > 0;) all.append(buffer, static_cast<size_t>(n));
    return all;
  }
  // Whole messages up to the first of `type`, in their order.
  std::string ReadUntil(char type) {
    std::string taken;
    for (;;) {
      wire::Message message;
      while (wire::ReadBackend(in_, &message) != wire::Read::kMessage) {
        char buffer[4096];
        const ssize_t n = recv(fd_, buffer, sizeof(buffer), 0);
        if (n <= 0) {
          ADD_FAILURE() << "closed: " << taken << in_;
          return taken;
        }
        in_.append(buffer, static_cast<size_t>(n));
      }
      const char seen = message.type;
      taken.append(message.whole);
      in_.erase(0, message.whole.size());
      if (seen == type) return taken;
    }
  }

 private:
  int fd_;
  std::string in_;
};

TEST_F(GateTest, RowsAreMaskedAlsoForAClientThatNeverAsksForADescription) {
  RawClient client(gateway_->port());
  std::string out;
  wire::AppendStartup({{"user", "me"}, {"database", "shop"}}, &out);
  client.Send(out);
  client.ReadUntil('R');
  out.clear();
  wire::AppendPassword(uplink_->Token("grt_1"), &out);
  client.Send(out);
  client.ReadUntil('Z');
  // Parse, Bind, Execute, Sync; and once more from Bind on, twice in one pipeline.
  const std::string parse(
      "P\0\0\0\x41"
      "s1\0select id, email from app.customers order by id limit 3\0\0\0",
      66);
  const std::string bind("B\0\0\0\x0e\0s1\0\0\0\0\0\0\0", 15);
  const std::string execute("E\0\0\0\x09\0\0\0\0\0", 10);
  const std::string sync("S\0\0\0\x04", 5);
  for (const std::string& batch : {parse + bind + execute + sync, bind + execute + bind + execute + sync}) {
    client.Send(batch);
    const std::string answer = client.ReadUntil('Z');
    EXPECT_THAT(answer, HasSubstr("SELECT 3"));
    EXPECT_THAT(answer, Not(HasSubstr("@example.com")));
    EXPECT_THAT(answer, Not(HasSubstr("email"))) << "a description that it did not ask for";
  }
}

TEST_F(GateTest, PlaintextBehindAnSslRequestEndsTheConnection) {
  RawClient client(gateway_->port());
  client.Send(std::string("\0\0\0\x08\x04\xd2\x16\x2f", 8) + std::string("\0\0\0\x0f\0\x03\0\0user\0a\0", 15));
  EXPECT_THAT(client.ReadToEnd(), HasSubstr("unencrypted data"));
}

TEST_F(GateTest, ASilentClientIsGoneAfterTheDeadline) {
  RawClient client(gateway_->port());
  const absl::Time start = absl::Now();
  EXPECT_THAT(client.ReadToEnd(), IsEmpty());
  EXPECT_LT(absl::Now() - start, absl::Seconds(10));
}

TEST_F(GateTest, OldProtocolsAndMalformedPacketsAreClosed) {
  RawClient old(gateway_->port());
  old.Send(std::string("\0\0\0\x09\0\x02\0\0\0", 9));
  EXPECT_THAT(old.ReadToEnd(), HasSubstr("0A000"));
  RawClient garbage(gateway_->port());
  garbage.Send("GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(garbage.ReadToEnd(), IsEmpty());
}

TEST_F(GateTest, EveryForwardedExecutionHasIntentBeforeOutcome) {
  {
    const Conn conn = Open();
    Query(conn, "select 1");
    Query(conn, "drop table app.orders");
    Query(conn, "select 1 / 0");
    const char* values[] = {"3"};
    Result(PQexecParams(conn.get(), "select name from app.customers where id = $1", 1, nullptr, values, nullptr,
                        nullptr, 0));
  }
  gateway_->Drain(absl::Seconds(5));
  std::map<int64_t, std::string> open;
  std::vector<std::string> outcomes;
  bool started = false, ended = false, bound = false;
  for (const auto& record : Records()) {
    if (record.kind() == v1::SESSION_START) started = true;
    if (record.kind() == v1::SESSION_END) ended = true;
    if (record.kind() == v1::STATEMENT_INTENT) {
      EXPECT_TRUE(started);
      EXPECT_FALSE(ended);
      if (record.decision() != "deny") open[record.execution()] = record.sql();
      for (const auto& value : record.values()) bound = bound || value.value() == "3";
    }
    if (record.kind() == v1::STATEMENT_OUTCOME) {
      EXPECT_EQ(open.count(record.execution()), 1u);
      open.erase(record.execution());
      outcomes.push_back(record.outcome() + record.sqlstate());
    }
  }
  EXPECT_TRUE(ended);
  EXPECT_TRUE(bound);
  EXPECT_THAT(open, IsEmpty());
  EXPECT_THAT(outcomes, ::testing::ElementsAre("completed", "failed22012", "completed"));
}

TEST_F(GateTest, DetectorsMaskWhatTheyFindInTextAndTheOutcomeCountsIt) {
  uplink_->SetPolicy(std::string(kPolicy) +
                     "detect: [{find: [email], on_hit: alarm}, {find: [card], columns: [app.orders.*]}]\n");
  const char* sql =
      "select 'to ann@example.com'::text as note, array['x', 'b@example.com'] as tags, 7 as n, '4111111111111111' as c";
  {
    const Conn conn = Open();
    const Result simple = Query(conn, sql);
    ASSERT_EQ(PQntuples(simple.get()), 1) << Message(simple);
    EXPECT_STREQ(PQgetvalue(simple.get(), 0, 0), "to [email redacted]");
    EXPECT_STREQ(PQgetvalue(simple.get(), 0, 1), "{x,[email redacted]}");
    EXPECT_STREQ(PQgetvalue(simple.get(), 0, 2), "7");
    EXPECT_STREQ(PQgetvalue(simple.get(), 0, 3), "4111111111111111");
    const Result binary(PQexecParams(conn.get(), sql, 0, nullptr, nullptr, nullptr, nullptr, 1));
    ASSERT_EQ(PQntuples(binary.get()), 1) << Message(binary);
    EXPECT_STREQ(PQgetvalue(binary.get(), 0, 0), "to [email redacted]");
    const std::string tags(PQgetvalue(binary.get(), 0, 1), static_cast<size_t>(PQgetlength(binary.get(), 0, 1)));
    EXPECT_THAT(tags, HasSubstr("[email redacted]"));
    EXPECT_THAT(tags, Not(HasSubstr("b@example")));
    const Result copy = Query(conn, "copy (select 1, 'ann@example.com'::text, 'quiet'::text) to stdout (format csv)");
    ASSERT_EQ(PQresultStatus(copy.get()), PGRES_COPY_OUT) << Message(copy);
    std::string rows;
    for (char* line = nullptr; PQgetCopyData(conn.get(), &line, 0) > 0; PQfreemem(line)) rows += line;
    EXPECT_EQ(rows, "1,[email redacted],quiet\n");
  }
  gateway_->Drain(absl::Seconds(5));
  std::vector<std::string> found;
  int alarms = 0;
  for (const auto& record : Records()) {
    if (record.kind() == v1::STATEMENT_OUTCOME) found.insert(found.end(), record.masks().begin(), record.masks().end());
    if (record.kind() == v1::ALARM && record.action() == "DETECTED") ++alarms;
  }
  EXPECT_THAT(found, ::testing::ElementsAre("note: 1 email", "tags: 1 email", "note: 1 email", "tags: 1 email",
                                            "text: 1 email"));
  EXPECT_EQ(alarms, 5);
}

// kPolicy with placeholders for what is masked.
std::string PlaceholderPolicy() {
  std::string policy = kPolicy;
  const std::string masks = "app.customers.phone: last4}";
  policy.replace(policy.find(masks), masks.size(), masks + ", in_expression: placeholder");
  return policy + "  - {id: lock, effect: allow, do: [lock], objects: [app.*]}\n";
}

// A placeholder's NULL in both protocols and formats, the mask's own value where none is needed, and both texts on
// record.
TEST_F(GateTest, PlaceholdersKeepMaskedColumnsOutOfWhatTheServerIsAsked) {
  uplink_->SetPolicy(PlaceholderPolicy());
  Admin("select pg_stat_reset()");
  {
    const Conn conn = Open();
    EXPECT_STREQ(PQgetvalue(Query(conn, "select email from app.customers where id = 1").get(), 0, 0), "[redacted]");
    EXPECT_THAT(notices_, IsEmpty());
    // A literal of a known shape is the new one.
    for (const char* id : {"1", "2", "3"}) {
      const Result row =
          Query(conn, fmt::format("select id, upper(email), name from app.customers where id = {}", id).c_str());
      ASSERT_EQ(PQntuples(row.get()), 1) << Message(row);
      EXPECT_STREQ(PQgetvalue(row.get(), 0, 0), id);
      EXPECT_EQ(PQgetisnull(row.get(), 0, 1), 1);
      EXPECT_EQ(PQgetvalue(row.get(), 0, 2), fmt::format("name {}", id));
    }
    EXPECT_THAT(notices_, HasSubstr("NULL stands for masked columns"));
    EXPECT_THAT(notices_, HasSubstr("app.customers.email"));
    EXPECT_STREQ(PQgetvalue(Query(conn, "select count(*) from app.customers where email like 'u%'").get(), 0, 0), "0");

    const Result prepared(PQprepare(
        conn.get(), "s", "select id, lower(phone) from app.customers c where c.id = $1 and email is null", 0, nullptr));
    ASSERT_EQ(PQresultStatus(prepared.get()), PGRES_COMMAND_OK) << Message(prepared);
    const Result described(PQdescribePrepared(conn.get(), "s"));
    EXPECT_EQ(PQnparams(described.get()), 1);
    for (int format = 0; format <= 1; ++format) {
      const char* values[] = {"2"};
      const Result rows(PQexecPrepared(conn.get(), "s", 1, values, nullptr, nullptr, format));
      ASSERT_EQ(PQntuples(rows.get()), 1) << Message(rows);
      EXPECT_EQ(PQgetisnull(rows.get(), 0, 1), 1);
    }
    Query(conn, "begin");
    EXPECT_THAT(Message(Query(conn, "declare c cursor for select id, upper(email) from app.customers order by id")),
                IsEmpty());
    const Result fetched = Query(conn, "fetch 2 from c");
    ASSERT_EQ(PQntuples(fetched.get()), 2) << Message(fetched);
    EXPECT_EQ(PQgetisnull(fetched.get(), 1, 1), 1);
    Query(conn, "commit");
    EXPECT_THAT(Message(Query(conn, "prepare p (int) as select upper(email), name from app.customers where id = $1")),
                IsEmpty());
    EXPECT_STREQ(PQgetvalue(Query(conn, "execute p(3)").get(), 0, 1), "name 3");
    const Result copy =
        Query(conn, "copy (select id, upper(email) from app.customers where id < 3 order by id) to stdout");
    ASSERT_EQ(PQresultStatus(copy.get()), PGRES_COPY_OUT) << Message(copy);
    std::string rows;
    for (char* line = nullptr; PQgetCopyData(conn.get(), &line, 0) > 0; PQfreemem(line)) rows += line;
    EXPECT_EQ(rows, "1\t\\N\n2\t\\N\n");
    while (Result(PQgetResult(conn.get())) != nullptr) {
    }
    const Result explained = Query(conn, "explain (costs off) select id from app.customers where email = 'x'");
    EXPECT_GT(PQntuples(explained.get()), 0) << Message(explained);
  }
  gateway_->Drain(absl::Seconds(5));
  int changed = 0;
  for (const auto& record : Records()) {
    if (record.kind() != v1::STATEMENT_INTENT) continue;
    EXPECT_THAT(record.sql(), ::testing::Not(HasSubstr("AS \"email\"")));
    if (record.forwarded_sql().empty()) continue;
    ++changed;
    EXPECT_THAT(record.forwarded_sql(), HasSubstr("NULL::pg_catalog.text AS \"email\"")) << record.sql();
    EXPECT_THAT(record.masks(), ::testing::Contains("app.customers.email: placeholder")) << record.sql();
  }
  EXPECT_EQ(changed, 10);
}

TEST_F(GateTest, PlaceholdersAreForStatementsThatOnlyRead) {
  uplink_->SetPolicy(PlaceholderPolicy());
  const Conn conn = Open();
  for (const char* sql :
       {"insert into app.orders (id) select id from app.customers where email like 'a%'",
        "update app.orders set id = id where exists (select from app.customers where email is null)",
        "select upper(email) from app.customers for update", "select ctid, upper(email) from app.customers",
        "select upper(email) from app.customers tablesample system (50)"}) {
    const Result refused = Query(conn, sql);
    EXPECT_EQ(State(refused), "42501") << sql;
    EXPECT_THAT(Message(refused), HasSubstr("placeholder")) << sql;
    EXPECT_THAT(Message(refused), HasSubstr("app.customers.email is masked")) << sql;
  }
}

TEST_F(GateTest, ErrorsPointIntoTheTextThatTheClientSent) {
  uplink_->SetPolicy(PlaceholderPolicy());
  const Conn conn = Open();
  const std::string sql = "select upper(email) from app.customers c, app.orders o group by email having o.id > 1";
  const Result failed = Query(conn, sql.c_str());
  ASSERT_EQ(State(failed), "42803") << Message(failed);
  EXPECT_EQ(PQresultErrorField(failed.get(), PG_DIAG_STATEMENT_POSITION), std::to_string(sql.find("o.id") + 1));
  const Result prepared(PQprepare(conn.get(), "s", sql.c_str(), 0, nullptr));
  EXPECT_EQ(PQresultErrorField(prepared.get(), PG_DIAG_STATEMENT_POSITION), std::to_string(sql.find("o.id") + 1));
}

TEST_F(GateTest, WhatWasPreparedBeforePolicyHadPlaceholdersIsPreparedAgain) {
  const Conn conn = Open();
  std::string open = kPolicy;
  const std::string masks = "app.customers.email: redact, ";
  open.erase(open.find(masks), masks.size());
  uplink_->SetPolicy(open);
  const char* sql = "select id from app.customers where email = 'user1@example.com'";
  ASSERT_THAT(Message(Result(PQprepare(conn.get(), "s", sql, 0, nullptr))), IsEmpty());
  EXPECT_EQ(PQntuples(Result(PQexecPrepared(conn.get(), "s", 0, nullptr, nullptr, nullptr, 0)).get()), 1);
  uplink_->SetPolicy(PlaceholderPolicy());
  const Result refused(PQexecPrepared(conn.get(), "s", 0, nullptr, nullptr, nullptr, 0));
  EXPECT_EQ(State(refused), "42501");
  EXPECT_THAT(Message(refused), HasSubstr("prepare it again"));
  ASSERT_THAT(Message(Result(PQprepare(conn.get(), "t", sql, 0, nullptr))), IsEmpty());
  EXPECT_EQ(PQntuples(Result(PQexecPrepared(conn.get(), "t", 0, nullptr, nullptr, nullptr, 0)).get()), 0);
}

}  // namespace
}  // namespace postern::session_test
