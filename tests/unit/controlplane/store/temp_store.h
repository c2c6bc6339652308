// The real store in a folder of its own, with a way to make it fail. With POSTERN_TEST_STORE=postgres in the
// environment it is a database of its own in a PostgreSQL that this process starts once.
#pragma once

#include <cstdlib>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <stdlib.h>

#include "absl/synchronization/mutex.h"
#include "controlplane/store/database.h"
#include "gtest/gtest.h"
#include "tests/support/postgres_server.h"

namespace postern::store {

class TempStore {
 public:
  TempStore() {
    std::string pattern = (std::filesystem::temp_directory_path() / "postern-store-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    location_ = OnPostgres() ? Server().CreateDatabase() : folder_ + "/postern.db";
    Reopen();
  }
  ~TempStore() {
    database_.reset();
    std::filesystem::remove_all(folder_);
  }

  void Close() { database_.reset(); }

  // As after a restart.
  void Reopen() {
    database_.reset();
    DatabaseOptions options;
    options.before_write = [this] {
      absl::MutexLock lock(&mu_);
      return std::exchange(fail_next_, absl::OkStatus());
    };
    auto database = Database::Open(location_, std::move(options));
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
  }

  // The next transaction fails with `status` before it changes anything.
  void FailNext(absl::Status status) {
    absl::MutexLock lock(&mu_);
    fail_next_ = std::move(status);
  }

  std::string folder() const { return folder_; }
  // What Database::Open() takes: a path, or a URI.
  const std::string& location() const { return location_; }
  static bool OnPostgres() {
    const char* engine = std::getenv("POSTERN_TEST_STORE");
    return engine != nullptr && std::string_view(engine) == "postgres";
  }
  Database& operator*() { return *database_; }
  Database* operator->() { return database_.get(); }

 private:
  static test::PostgresServer& Server() {
    static test::PostgresServer server;
    return server;
  }

  std::string folder_;
  std::string location_;
  absl::Mutex mu_;
  absl::Status fail_next_;
  std::unique_ptr<Database> database_;
};

}  // namespace postern::store
