// The real store in a folder of its own, with a way to make it fail.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include <stdlib.h>

#include "absl/synchronization/mutex.h"
#include "controlplane/store/sqlite/database.h"
#include "gtest/gtest.h"

namespace postern::store {

class TempStore {
 public:
  TempStore() {
    std::string pattern = (std::filesystem::temp_directory_path() / "postern-store-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    Reopen();
  }
  ~TempStore() {
    database_.reset();
    std::filesystem::remove_all(folder_);
  }

  // As after a restart.
  void Reopen() {
    database_.reset();
    DatabaseOptions options;
    options.before_write = [this] {
      absl::MutexLock lock(&mu_);
      return std::exchange(fail_next_, absl::OkStatus());
    };
    auto database = Database::Open(path(), std::move(options));
    ASSERT_TRUE(database.ok()) << database.status();
    database_ = *std::move(database);
  }

  // The next transaction fails with `status` before it changes anything.
  void FailNext(absl::Status status) {
    absl::MutexLock lock(&mu_);
    fail_next_ = std::move(status);
  }

  std::string folder() const { return folder_; }
  std::string path() const { return folder_ + "/postern.db"; }
  Database& operator*() { return *database_; }
  Database* operator->() { return database_.get(); }

 private:
  std::string folder_;
  absl::Mutex mu_;
  absl::Status fail_next_;
  std::unique_ptr<Database> database_;
};

}  // namespace postern::store
