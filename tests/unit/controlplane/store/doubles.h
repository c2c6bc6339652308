// Stand-ins for the rooms around the one under test: they remember what they were told.
#pragma once

#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/fleet_hub.h"

namespace postern {

class RecordingHub : public fleet::FleetHub {
 public:
  void PushPolicy() override { Count(policies_); }
  void PushTargets() override { Count(targets_); }
  void PushTokenKeys() override {}
  void PushRevocation(const v1::Revocation& revocation) override {
    absl::MutexLock lock(&mu_);
    revocations_.push_back(revocation);
  }
  void PushKill(std::string_view session_id, std::string_view reason) override {
    absl::MutexLock lock(&mu_);
    kills_.emplace_back(std::string(session_id), std::string(reason));
  }
  void PushApproval(const v1::Approval& approval) override {
    absl::MutexLock lock(&mu_);
    approvals_.push_back(approval);
  }
  std::vector<Endpoint> EndpointsFor(std::string_view) const override {
    return {{.sidecar_id = "sdc_1", .host = "127.0.0.1", .port = 6432, .client_ca_pem = "PEM"}};
  }
  bool IsConnected(std::string_view sidecar_id) const override { return connected.contains(std::string(sidecar_id)); }

  int policies() const { return Get(policies_); }
  int targets() const { return Get(targets_); }
  std::vector<v1::Revocation> revocations() const { return Get(revocations_); }
  std::vector<std::pair<std::string, std::string>> kills() const { return Get(kills_); }
  std::vector<v1::Approval> approvals() const { return Get(approvals_); }

  std::set<std::string> connected;

 private:
  template <typename T>
  T Get(const T& value) const {
    absl::MutexLock lock(&mu_);
    return value;
  }
  void Count(int& counter) {
    absl::MutexLock lock(&mu_);
    ++counter;
  }
  mutable absl::Mutex mu_;
  int policies_ = 0;
  int targets_ = 0;
  std::vector<v1::Revocation> revocations_;
  std::vector<std::pair<std::string, std::string>> kills_;
  std::vector<v1::Approval> approvals_;
};

class RecordingSink : public audit::AuditSink {
 public:
  absl::Status Record(v1::AuditRecord record) override {
    absl::MutexLock lock(&mu_);
    if (!fail_with_.ok()) return fail_with_;
    records_.push_back(std::move(record));
    return absl::OkStatus();
  }
  void FailWith(absl::Status status) {
    absl::MutexLock lock(&mu_);
    fail_with_ = std::move(status);
  }
  std::vector<v1::AuditRecord> records() const {
    absl::MutexLock lock(&mu_);
    return records_;
  }
  // "action outcome" of each record, in order.
  std::vector<std::string> lines() const {
    std::vector<std::string> lines;
    for (const v1::AuditRecord& record : records()) lines.push_back(record.action() + " " + record.outcome());
    return lines;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Status fail_with_;
  std::vector<v1::AuditRecord> records_;
};

}  // namespace postern
