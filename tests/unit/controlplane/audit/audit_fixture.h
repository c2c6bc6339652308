// The audit log on the real store in a temporary folder.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "common/audit/chain.h"
#include "common/audit/verify.h"
#include "common/base/errors.h"
#include "controlplane/audit/audit_log.h"
#include "controlplane/store/audit_store.h"
#include "gmock/gmock.h"
#include "tests/unit/controlplane/store/temp_store.h"

namespace postern::audit {

inline v1::AuditRecord Statement(const std::string& sql) {
  v1::AuditRecord record;
  record.set_kind(v1::STATEMENT_INTENT);
  record.mutable_time()->set_seconds(1'750'000'000);
  record.set_sql(sql);
  return record;
}

class AuditFixture : public ::testing::Test {
 protected:
  AuditFixture() : key_(*crypto::EcPrivateKey::Generate()) { Start(); }

  void Start() {
    auto log = TryStart();
    ASSERT_TRUE(log.ok()) << log.status();
    log_ = *std::move(log);
  }
  absl::StatusOr<std::unique_ptr<AuditLog>> TryStart() {
    log_.reset();
    store_ = std::make_unique<store::SqlAuditStore>(*database_);
    return AuditLog::Open({.origin = "test", .checkpoint_interval = interval_}, *store_, key_, clock_,
                          Random::System());
  }
  void Restart() {
    log_.reset();
    database_.Reopen();
    Start();
  }

  // Records of `writer`, `count` more in its chain.
  std::vector<v1::ChainedRecord> More(const std::string& writer, int count, const std::string& epoch = "e1") {
    Chain& chain = chains_.try_emplace({writer, epoch}, writer, epoch).first->second;
    std::vector<v1::ChainedRecord> records;
    for (int i = 0; i < count; ++i) {
      records.push_back(chain.Append(SerializeRecord(Statement(writer + " " + std::to_string(chain.sequence() + 1)))));
    }
    return records;
  }

  std::vector<v1::LoggedRecord> All() {
    v1::QueryAuditRequest request;
    request.set_page_size(1000);
    request.set_oldest_first(true);
    auto page = log_->Query(request);
    EXPECT_TRUE(page.ok()) << page.status();
    return {page->records().begin(), page->records().end()};
  }
  std::vector<v1::AuditRecord> Alarms() {
    v1::QueryAuditRequest request;
    request.mutable_filter()->set_kind(v1::ALARM);
    request.set_oldest_first(true);
    std::vector<v1::AuditRecord> alarms;
    const auto page = log_->Query(request);
    for (const auto& logged : page->records()) {
      EXPECT_TRUE(alarms.emplace_back().ParseFromString(logged.chained().record()));
    }
    return alarms;
  }
  VerifyReport Verify(int64_t from = 0, VerifyOptions options = {}) {
    ExportVerifier verifier(std::move(options));
    const absl::Status exported = log_->Export(from, [&](const v1::ExportAuditResponse& item) {
      verifier.Add(item);
      return true;
    });
    EXPECT_TRUE(exported.ok()) << exported;
    return verifier.Finish();
  }

  absl::Duration interval_ = absl::Seconds(1);
  store::TempStore database_;
  crypto::EcPrivateKey key_;
  FakeClock clock_;
  std::map<std::pair<std::string, std::string>, Chain> chains_;
  std::unique_ptr<store::SqlAuditStore> store_;
  std::unique_ptr<AuditLog> log_;
};

}  // namespace postern::audit
