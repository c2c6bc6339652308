#include "controlplane/store/database.h"

#include <fstream>
#include <thread>

#include <sys/stat.h>

#include "common/base/errors.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::store {
namespace {

class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    const char* bytes = TempStore::OnPostgres() ? "BYTEA" : "BLOB";
    ASSERT_TRUE(Write(fmt::format("CREATE TABLE t (id BIGINT PRIMARY KEY, body {}, note TEXT)", bytes)).ok());
    ASSERT_TRUE(Write("CREATE TABLE child (id BIGINT PRIMARY KEY, t BIGINT REFERENCES t (id))").ok());
  }
  template <typename... Values>
  absl::Status Write(std::string_view sql, const Values&... values) {
    return store_->Write([&](Connection& db) { return db.Run(sql, values...); });
  }
  int64_t Count() {
    auto reader = store_->Read();
    EXPECT_TRUE(reader.ok()) << reader.status();
    Statement rows = (*reader)->Prepare("SELECT count(*) FROM t");
    EXPECT_TRUE(rows.Step()) << rows.status();
    return rows.Int(0);
  }
  TempStore store_;
};

TEST_F(DatabaseTest, ValuesComeBackAsTheyWereBound) {
  const std::string bytes("\x00\xff\x01", 3);
  ASSERT_TRUE(Write("INSERT INTO t VALUES (?, ?, ?)", int64_t{1} << 62, Blob{bytes}, "grüße").ok());
  ASSERT_TRUE(Write("INSERT INTO t VALUES (?, ?, ?)", 2, nullptr, std::optional<std::string>()).ok());
  auto reader = store_->Read();
  ASSERT_TRUE(reader.ok());
  Statement rows = (*reader)->Prepare("SELECT id, body, note FROM t ORDER BY id DESC");
  ASSERT_TRUE(rows.Step());
  EXPECT_EQ(rows.Int(0), int64_t{1} << 62);
  EXPECT_EQ(rows.Bytes(1), bytes);
  EXPECT_EQ(rows.Text(2), "grüße");
  ASSERT_TRUE(rows.Step());
  EXPECT_TRUE(rows.IsNull(1));
  EXPECT_TRUE(rows.IsNull(2));
  EXPECT_FALSE(rows.Step());
  EXPECT_TRUE(rows.status().ok());
}

TEST_F(DatabaseTest, TimesKeepTheirMicrosecondsAndNoTimeIsNull) {
  const absl::Time time = absl::FromUnixMicros(1'750'000'000'123'456);
  ASSERT_TRUE(Write("CREATE TABLE clock (at BIGINT, never BIGINT)").ok());
  ASSERT_TRUE(Write("INSERT INTO clock VALUES (?, ?)", time, kNoTime).ok());
  auto reader = store_->Read();
  Statement rows = (*reader)->Prepare("SELECT at, never FROM clock");
  ASSERT_TRUE(rows.Step());
  EXPECT_EQ(rows.Time(0), time);
  EXPECT_TRUE(rows.IsNull(1));
  EXPECT_EQ(rows.Time(1), kNoTime);
}

TEST_F(DatabaseTest, ATakenKeyIsAlreadyExists) {
  ASSERT_TRUE(Write("INSERT INTO t(id) VALUES (1)").ok());
  const absl::Status status = Write("INSERT INTO t(id) VALUES (1)");
  EXPECT_EQ(status.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(ReasonOf(status), "ALREADY_EXISTS");
}

TEST_F(DatabaseTest, ABrokenReferenceIsRefused) {
  const absl::Status status = Write("INSERT INTO child VALUES (1, 99)");
  EXPECT_EQ(ReasonOf(status), "STORE_CONSTRAINT");
}

TEST_F(DatabaseTest, AnErrorInABindOrPrepareSticks) {
  auto reader = store_->Read();
  Statement wrong = (*reader)->Prepare("SELECT nothing FROM nowhere");
  wrong.Bind(1, 5);
  EXPECT_FALSE(wrong.Step());
  EXPECT_EQ(ReasonOf(wrong.status()), "STORE_UNAVAILABLE");
  Statement out_of_range = (*reader)->Prepare("SELECT 1");
  EXPECT_FALSE(out_of_range.Bind(7, 5).Step());
  EXPECT_FALSE(out_of_range.status().ok());
}

TEST_F(DatabaseTest, ReadersCannotWrite) {
  auto reader = store_->Read();
  EXPECT_FALSE((*reader)->Run("INSERT INTO t(id) VALUES (1)").ok());
}

TEST_F(DatabaseTest, ATransactionThatIsNotCommittedLeavesNothing) {
  {
    auto transaction = store_->Begin();
    ASSERT_TRUE(transaction.ok());
    ASSERT_TRUE((*transaction)->Run("INSERT INTO t(id) VALUES (1)").ok());
  }
  EXPECT_EQ(Count(), 0);
  auto transaction = store_->Begin();
  ASSERT_TRUE(transaction.ok());
  ASSERT_TRUE((*transaction)->Run("INSERT INTO t(id) VALUES (1)").ok());
  EXPECT_EQ(Count(), 0) << "a reader must not see what is not committed";
  ASSERT_TRUE(transaction->Commit().ok());
  EXPECT_EQ(Count(), 1);
}

TEST_F(DatabaseTest, AFailedChangeIsUndoneWhole) {
  const absl::Status status = store_->Write([](Connection& db) {
    EXPECT_TRUE(db.Run("INSERT INTO t(id) VALUES (1)").ok());
    return Error(absl::StatusCode::kAborted, "STALE_ETAG", "changed meanwhile");
  });
  EXPECT_EQ(ReasonOf(status), "STALE_ETAG");
  EXPECT_EQ(Count(), 0);
}

TEST_F(DatabaseTest, ConcurrentChangesAllHappenAndFailuresStayTheirOwn) {
  constexpr int kThreads = 8;
  constexpr int kEach = 50;
  std::vector<std::thread> threads;
  std::atomic<int> refused = 0;
  for (int t = 0; t < kThreads; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < kEach; ++i) {
        const absl::Status status = store_->Write([&](Connection& db) {
          absl::Status inserted = db.Run("INSERT INTO t(id) VALUES (?)", t * kEach + i);
          return i % 5 == 4 ? absl::AbortedError("no") : inserted;
        });
        if (!status.ok()) ++refused;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(refused, kThreads * kEach / 5);
  EXPECT_EQ(Count(), kThreads * kEach * 4 / 5);
}

TEST_F(DatabaseTest, FailNextFailsOneChangeOnly) {
  store_.FailNext(absl::UnavailableError("disk full"));
  EXPECT_EQ(Write("INSERT INTO t(id) VALUES (1)").code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(Count(), 0);
  EXPECT_TRUE(Write("INSERT INTO t(id) VALUES (1)").ok());
}

TEST_F(DatabaseTest, ASnapshotDoesNotMove) {
  auto reader = store_->Read();
  ASSERT_TRUE(reader->Snapshot().ok());
  ASSERT_TRUE(Write("INSERT INTO t(id) VALUES (1)").ok());
  Statement rows = (*reader)->Prepare("SELECT count(*) FROM t");
  ASSERT_TRUE(rows.Step());
  EXPECT_EQ(rows.Int(0), 0);
  EXPECT_EQ(Count(), 1) << "other readers do see it";
}

TEST_F(DatabaseTest, WhatWasWrittenSurvivesReopening) {
  ASSERT_TRUE(Write("INSERT INTO t(id) VALUES (1)").ok());
  store_.Reopen();
  EXPECT_EQ(Count(), 1);
}

TEST_F(DatabaseTest, TheFileIsPrivate) {
  if (TempStore::OnPostgres()) GTEST_SKIP() << "there is no file";
  struct stat info {};
  ASSERT_EQ(stat(store_.location().c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600);
}

TEST_F(DatabaseTest, AnAlteredMigrationIsRefused) {
  ASSERT_TRUE(Write("UPDATE schema_migrations SET sha256 = 'other' WHERE version = 1").ok());
  store_.Close();
  auto again = Database::Open(store_.location());
  EXPECT_EQ(ReasonOf(again.status()), "STORE_SCHEMA_MISMATCH");
}

TEST_F(DatabaseTest, ANewerSchemaIsRefused) {
  ASSERT_TRUE(Write("INSERT INTO schema_migrations(version, name, sha256) VALUES (9999, 'future', 'x')").ok());
  store_.Close();
  auto again = Database::Open(store_.location());
  EXPECT_EQ(ReasonOf(again.status()), "STORE_SCHEMA_NEWER");
}

TEST(DatabaseFile, AFileThatIsNoDatabaseIsCorrupt) {
  TempStore store;
  const std::string path = store.folder() + "/other.db";
  std::ofstream(path) << std::string(4096, 'x');
  EXPECT_EQ(ReasonOf(Database::Open(path).status()), "STORE_CORRUPT");
}

TEST_F(DatabaseTest, EveryMigrationHasItsOwnAscendingNumber) {
  int last = 0;
  for (const Migration& migration : store_->migrations()) {
    EXPECT_GT(migration.version, last) << migration.name;
    last = migration.version;
  }
  EXPECT_GT(last, 0);
}

TEST_F(DatabaseTest, BothEnginesHaveTheSameMigrations) {
  const auto names = [](const std::vector<Migration>& migrations) {
    std::vector<std::string> all;
    for (const Migration& one : migrations) all.push_back(fmt::format("{} {}", one.version, one.name));
    return all;
  };
  auto sqlite = NewSqliteEngine(store_.folder() + "/other.db", absl::Seconds(1));
  auto postgres = NewPostgresEngine("postgresql://nowhere", absl::Seconds(1));
  EXPECT_EQ(names((*sqlite)->migrations()), names((*postgres)->migrations()));
}

TEST_F(DatabaseTest, ASecondControlPlaneOnOnePostgresIsRefused) {
  if (!TempStore::OnPostgres()) GTEST_SKIP() << "SQLite locks its file";
  DatabaseOptions hasty;
  hasty.busy_timeout = absl::Milliseconds(50);
  EXPECT_EQ(ReasonOf(Database::Open(store_.location(), hasty).status()), "STORE_IN_USE");
}

TEST_F(DatabaseTest, AServerThatGoesAwayFailsAChangeAndTheNextOneConnectsAgain) {
  if (!TempStore::OnPostgres()) GTEST_SKIP() << "SQLite has no server";
  const absl::Status cut = store_->Write([](Connection& db) {
    return db.Run(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'postern-controlplane'");
  });
  EXPECT_EQ(ReasonOf(cut), "STORE_UNAVAILABLE");
  EXPECT_TRUE(Write("INSERT INTO t(id) VALUES (1)").ok());
  EXPECT_EQ(Count(), 1);
}

TEST(DatabaseServer, AnUnreachableServerIsUnavailableAndTheUriStaysUnsaid) {
  const absl::Status status = Database::Open("postgresql://someone:hush@127.0.0.1:1/nothing").status();
  EXPECT_EQ(ReasonOf(status), "STORE_UNAVAILABLE");
  EXPECT_EQ(std::string(status.message()).find("hush"), std::string::npos);
}

}  // namespace
}  // namespace postern::store
