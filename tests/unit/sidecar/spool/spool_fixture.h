// A spool in a temporary folder on files that can be made to fail.
#pragma once

#include <filesystem>
#include <fstream>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include <stdlib.h>

#include "common/audit/chain.h"
#include "common/base/errors.h"
#include "gtest/gtest.h"
#include "sidecar/spool/spool.h"
#include "tests/unit/sidecar/spool/failing_files.h"

namespace postern::spool {

inline v1::AuditRecord Intent(const std::string& sql) {
  v1::AuditRecord record;
  record.set_kind(v1::STATEMENT_INTENT);
  record.mutable_time()->set_seconds(1'750'000'000);
  record.set_sql(sql);
  return record;
}

inline v1::AuditRecord Outcome(const std::string& tag) {
  v1::AuditRecord record;
  record.set_kind(v1::STATEMENT_OUTCOME);
  record.mutable_time()->set_seconds(1'750'000'000);
  record.set_command_tag(tag);
  return record;
}

inline v1::AuditRecord Parse(const v1::ChainedRecord& chained) {
  v1::AuditRecord record;
  EXPECT_TRUE(record.ParseFromString(chained.record()));
  return record;
}

class SpoolFixture : public ::testing::Test {
 protected:
  SpoolFixture() {
    std::string name = (std::filesystem::temp_directory_path() / "postern-spool-XXXXXX").string();
    EXPECT_NE(::mkdtemp(name.data()), nullptr);
    root_ = name;
    options_.directory = (root_ / "spool").string();
    options_.writer = "sdc_test";
    options_.segment_bytes = 4096;
    options_.max_bytes = 1 << 20;
    options_.reserve_bytes = 1 << 20;
    options_.max_record_bytes = 16384;
    options_.sync_interval = absl::Milliseconds(5);
    options_.retry_interval = absl::Milliseconds(2);
  }
  ~SpoolFixture() override {
    spool_.reset();
    std::filesystem::remove_all(root_);
  }

  absl::Status TryOpen() {
    spool_.reset();
    auto opened = Spool::Open(options_, files_, Clock::System(), Random::System());
    if (opened.ok()) spool_ = *std::move(opened);
    return opened.status();
  }
  void Open() { ASSERT_TRUE(TryOpen().ok()); }

  // Everything that is readable from `after` on, across epochs, each chain verified.
  std::vector<v1::ChainedRecord> ReadAll(Position after, int64_t max_bytes = 1000) {
    std::vector<v1::ChainedRecord> all;
    for (;;) {
      auto batch = spool_->Read(after, max_bytes);
      EXPECT_TRUE(batch.ok()) << batch.status();
      if (!batch.ok() || batch->empty()) return all;
      for (const auto& record : *batch) {
        EXPECT_EQ(record.epoch(), batch->front().epoch());
        all.push_back(record);
      }
      after = {all.back().epoch(), all.back().sequence()};
    }
  }
  std::vector<v1::ChainedRecord> ReadAll() { return ReadAll(spool_->acknowledged()); }

  // Each epoch's records follow each other from record 1.
  static void ExpectChained(const std::vector<v1::ChainedRecord>& records) {
    std::unique_ptr<audit::Chain> chain;
    for (const auto& record : records) {
      if (chain == nullptr || chain->epoch() != record.epoch()) {
        chain = std::make_unique<audit::Chain>(record.writer(), record.epoch());
      }
      const absl::Status follows = chain->Follow(record);
      ASSERT_TRUE(follows.ok()) << follows;
    }
  }

  std::vector<std::string> FilesEndingIn(const std::string& suffix) const {
    std::vector<std::string> paths;
    for (const auto& entry : std::filesystem::directory_iterator(options_.directory)) {
      if (entry.path().string().ends_with(suffix)) paths.push_back(entry.path().string());
    }
    std::sort(paths.begin(), paths.end());
    return paths;
  }
  static std::string ReadFile(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  static void WriteFile(const std::string& path, const std::string& bytes) {
    std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
  }

  std::filesystem::path root_;
  Options options_;
  FailingFiles files_;
  std::unique_ptr<Spool> spool_;
};

inline absl::Status NoSpace() { return Error(absl::StatusCode::kResourceExhausted, "SPOOL_FULL", "No space left"); }
inline absl::Status IoError() { return Error(absl::StatusCode::kUnavailable, "SPOOL_FAILED", "Input/output error"); }

}  // namespace postern::spool
