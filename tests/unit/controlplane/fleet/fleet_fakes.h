// Stand-ins for the rooms that the fleet reads from and asks.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "common/base/clock.h"
#include "common/base/errors.h"
#include "common/base/timestamps.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/control_sources.h"

namespace postern::fleet {

class FakeSources final : public ControlSources {
 public:
  std::string Origin() override { return "cp.example"; }
  absl::StatusOr<v1::PolicySet> Policy() override {
    absl::MutexLock lock(&mu);
    if (!fail.ok()) return fail;
    return policy;
  }
  absl::StatusOr<TargetSet> Targets() override {
    absl::MutexLock lock(&mu);
    if (!fail.ok()) return fail;
    return targets;
  }
  absl::StatusOr<std::vector<v1::TokenKey>> TokenKeys() override {
    absl::MutexLock lock(&mu);
    return keys;
  }
  absl::StatusOr<std::vector<v1::Revocation>> Revocations() override {
    absl::MutexLock lock(&mu);
    return revocations;
  }
  std::optional<v1::Checkpoint> LatestCheckpoint() override {
    absl::MutexLock lock(&mu);
    return checkpoint;
  }

  void AddTarget(const std::string& name, const std::string& env = "demo") {
    absl::MutexLock lock(&mu);
    v1::Target target;
    target.set_name(name);
    target.set_env(env);
    target.set_default_database("orders");
    targets.targets.push_back(target);
    targets.mask_keys[name] = "mask key of " + name;
  }

  absl::Mutex mu;
  absl::Status fail ABSL_GUARDED_BY(mu);
  v1::PolicySet policy ABSL_GUARDED_BY(mu);
  TargetSet targets ABSL_GUARDED_BY(mu);
  std::vector<v1::TokenKey> keys ABSL_GUARDED_BY(mu);
  std::vector<v1::Revocation> revocations ABSL_GUARDED_BY(mu);
  std::optional<v1::Checkpoint> checkpoint ABSL_GUARDED_BY(mu);
};

class FakeAudit final : public audit::AuditSink {
 public:
  absl::Status Record(v1::AuditRecord record) override {
    absl::MutexLock lock(&mu_);
    if (!fail_.ok()) return fail_;
    records_.push_back(std::move(record));
    return absl::OkStatus();
  }
  void Fail(absl::Status status) {
    absl::MutexLock lock(&mu_);
    fail_ = std::move(status);
  }
  std::vector<v1::AuditRecord> records() const {
    absl::MutexLock lock(&mu_);
    return records_;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Status fail_ ABSL_GUARDED_BY(mu_);
  std::vector<v1::AuditRecord> records_ ABSL_GUARDED_BY(mu_);
};

// Approvals by request id and sessions by id, as the rooms keep them; audit records deduplicated by position.
class FakeBackend final : public SidecarBackend {
 public:
  absl::StatusOr<v1::Grant> FindGrant(std::string_view grant_id) override {
    absl::MutexLock lock(&mu);
    auto grant = grants.find(std::string(grant_id));
    if (grant == grants.end()) return Error(absl::StatusCode::kNotFound, "GRANT_NOT_FOUND", "no such grant");
    return grant->second;
  }
  absl::StatusOr<v1::ReleaseCredentialResponse> OpenCredential(std::string_view target) override {
    v1::ReleaseCredentialResponse response;
    response.set_user("app");
    response.set_password("password of " + std::string(target));
    return response;
  }
  absl::StatusOr<v1::Approval> RequestApproval(std::string_view sidecar_id,
                                               const v1::RequestStatementApprovalRequest& request) override {
    absl::MutexLock lock(&mu);
    auto [id, made] = approval_of_request.emplace(request.request_id(), "apr_" + request.request_id());
    v1::Approval& approval = approvals[id->second];
    if (made) {
      approval.set_id(id->second);
      approval.set_state(v1::APPROVAL_PENDING);
      approval.set_etag("1");
      approval.set_sidecar_id(std::string(sidecar_id));
      approval.set_target(request.binding().target());
      *approval.mutable_binding() = request.binding();
    }
    return approval;
  }
  absl::StatusOr<v1::Approval> ClaimApproval(std::string_view, const v1::ClaimApprovalRequest& request) override {
    absl::MutexLock lock(&mu);
    v1::Approval& approval = approvals[request.id()];
    if (approval.state() != v1::APPROVAL_APPROVED) {
      return Error(absl::StatusCode::kFailedPrecondition, "APPROVAL_NOT_USABLE", "not approved, or used");
    }
    approval.set_state(v1::APPROVAL_USED);
    return approval;
  }
  absl::StatusOr<v1::Approval> WithdrawApproval(std::string_view, const v1::WithdrawApprovalRequest& request) override {
    absl::MutexLock lock(&mu);
    approvals[request.id()].set_state(v1::APPROVAL_CANCELLED);
    return approvals[request.id()];
  }
  absl::Status AttachPreview(std::string_view, const v1::AttachPreviewRequest& request) override {
    absl::MutexLock lock(&mu);
    *approvals[request.id()].mutable_preview() = request.preview();
    return absl::OkStatus();
  }
  absl::Status ReportSession(std::string_view, const v1::Session& session) override {
    absl::MutexLock lock(&mu);
    v1::Session& stored = sessions[session.id()];
    if (stored.state() != v1::SESSION_ENDED) stored = session;
    return absl::OkStatus();
  }
  absl::Status ReportLiveSessions(std::string_view sidecar_id, const std::vector<v1::Session>& live) override {
    absl::MutexLock lock(&mu);
    for (auto& [id, session] : sessions) {
      if (session.sidecar_id() != sidecar_id || session.state() == v1::SESSION_ENDED) continue;
      session.set_state(v1::SESSION_ENDED);
      session.set_end_reason("lost");
    }
    for (const v1::Session& session : live) sessions[session.id()] = session;
    return absl::OkStatus();
  }
  absl::StatusOr<Ingested> IngestAudit(std::string_view writer,
                                       const std::vector<v1::ChainedRecord>& records) override {
    absl::MutexLock lock(&mu);
    Ingested ingested;
    for (const v1::ChainedRecord& record : records) {
      ++uploads;
      logged.emplace(std::tuple(std::string(writer), record.epoch(), record.sequence()), record);
      ingested = {.epoch = record.epoch(), .committed_sequence = record.sequence()};
    }
    if (!lose_answer.ok()) return std::exchange(lose_answer, absl::OkStatus());
    return ingested;
  }

  absl::Mutex mu;
  std::map<std::string, v1::Grant> grants ABSL_GUARDED_BY(mu);
  std::map<std::string, std::string> approval_of_request ABSL_GUARDED_BY(mu);
  std::map<std::string, v1::Approval> approvals ABSL_GUARDED_BY(mu);
  std::map<std::string, v1::Session> sessions ABSL_GUARDED_BY(mu);
  std::map<std::tuple<std::string, std::string, int64_t>, v1::ChainedRecord> logged ABSL_GUARDED_BY(mu);
  // How many records came, repeated ones too; and an error to answer one committed batch with.
  int uploads ABSL_GUARDED_BY(mu) = 0;
  absl::Status lose_answer ABSL_GUARDED_BY(mu);
};

}  // namespace postern::fleet
