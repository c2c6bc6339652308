#include "controlplane/server/rpc_gate.h"

#include <utility>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "controlplane/server/grpc_status.h"
#include "controlplane/server/request_facts.h"
#include "fmt/format.h"
#include "grpcpp/server_context.h"

namespace postern::server {
namespace {

using google::protobuf::Message;

// Prefixes keep a person, an agent and a sidecar of the same name apart.
std::string CallerKey(const identity::Caller& caller) {
  if (caller.IsAgent()) return "agents/" + caller.id();
  if (caller.IsSidecar()) return "sidecars/" + caller.id();
  if (caller.IsPerson()) return "people/" + caller.id();
  return {};
}

// "ipv4:127.0.0.1:51234" without the port, which a caller can change at will.
std::string HostOf(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

CallCredentials CredentialsOf(const grpc::ServerContextBase& context) {
  CallCredentials credentials;
  const auto& metadata = context.client_metadata();
  if (const auto it = metadata.find("authorization"); it != metadata.end()) {
    credentials.authorization.assign(it->second.data(), it->second.size());
  }
  if (const auto auth = context.auth_context(); auth != nullptr) {
    const auto certificates = auth->FindPropertyValues("x509_pem_cert");
    if (!certificates.empty()) {
      credentials.certificate_pem.assign(certificates.front().data(), certificates.front().size());
    }
  }
  credentials.peer = context.peer();
  return credentials;
}

v1::AuditRecord ActOf(const identity::Caller& caller, const CallerRow& row) {
  v1::AuditRecord act;
  act.set_kind(v1::CONTROL);
  act.set_agent(caller.id());
  act.set_client_address(caller.peer);
  act.set_action(std::string(row.method));
  auto& detail = *act.mutable_detail();
  detail["by"] = CallerKey(caller);
  detail["method"] = caller.principal.method();
  return act;
}

void AddResult(const absl::Status& status, v1::AuditRecord& act) {
  if (status.ok()) return;
  act.set_reason_code(ReasonOf(status));
  act.set_reason(std::string(status.message()));
}

}  // namespace

RpcGate::RpcGate(Options options, Authenticate authenticate, RequestMemory& memory, audit::AuditSink& audit,
                 const Clock& clock, Report report)
    : options_(options),
      authenticate_(std::move(authenticate)),
      memory_(memory),
      audit_(audit),
      clock_(clock),
      report_(std::move(report)),
      limiter_(options.calls_per_second, options.burst) {}

grpc::Status RpcGate::ToGrpc(const absl::Status& status) { return server::ToGrpc(status); }

absl::StatusOr<identity::Caller> RpcGate::AdmitBy(const CallCredentials& credentials, const CallerRow& row) {
  identity::Caller caller;
  if ((row.who & kUnidentified) != 0) {
    caller.peer = credentials.peer;
  } else {
    POSTERN_ASSIGN_OR_RETURN(caller, authenticate_(credentials));
  }
  // Sidecars call once for each session that they open, so their rate is that of their clients.
  const std::string key = caller.principal.id().empty() ? HostOf(credentials.peer) : CallerKey(caller);
  if (!caller.IsSidecar() && !limiter_.Take(key, clock_.Monotonic())) {
    return Error(absl::StatusCode::kResourceExhausted, "TOO_MANY_CALLS", "you call too often", "wait, then try again");
  }
  if ((row.who & kUnidentified) == 0 && !MayCall(row, caller)) {
    absl::Status refusal = Error(absl::StatusCode::kPermissionDenied, "NOT_ALLOWED",
                                 fmt::format("{} may not call {}", caller.id(), row.method),
                                 caller.IsAgent() ? "agents have no roles, whatever groups they are in"
                                                  : "`postern whoami` shows your roles; an admin binds them to groups");
    RecordRefusal(caller, row, refusal);
    return refusal;
  }
  return caller;
}

absl::StatusOr<identity::Caller> RpcGate::Admit(const grpc::ServerContextBase& context, std::string_view method) {
  const absl::Duration start = clock_.Monotonic();
  const CallerRow* row = FindRow(method);
  if (row == nullptr) return Error(absl::StatusCode::kInternal, "INTERNAL", fmt::format("{} has no row", method));
  const CallCredentials credentials = CredentialsOf(context);
  absl::StatusOr<identity::Caller> caller = AdmitBy(credentials, *row);
  report_(CallReport{.method = row->method,
                     .caller = caller.ok() ? CallerKey(*caller) : "",
                     .peer = credentials.peer,
                     .code = caller.status().code(),
                     .reason = ReasonOf(caller.status()),
                     .took = clock_.Monotonic() - start});
  return caller;
}

grpc::Status RpcGate::Run(const grpc::ServerContextBase& context, std::string_view method, const Message& request,
                          Message* response, const Handle& handle) {
  const absl::Duration start = clock_.Monotonic();
  const CallerRow* row = FindRow(method);
  if (row == nullptr) {
    return ToGrpc(Error(absl::StatusCode::kInternal, "INTERNAL", fmt::format("{} has no row", method)));
  }
  const CallCredentials credentials = CredentialsOf(context);
  const absl::StatusOr<identity::Caller> caller = AdmitBy(credentials, *row);
  const absl::Status status = caller.ok() ? RunAdmitted(*caller, *row, request, response, handle) : caller.status();
  report_(CallReport{.method = row->method,
                     .caller = caller.ok() ? CallerKey(*caller) : "",
                     .peer = credentials.peer,
                     .code = status.code(),
                     .reason = ReasonOf(status),
                     .took = clock_.Monotonic() - start});
  return ToGrpc(status);
}

absl::Status RpcGate::RunAdmitted(const identity::Caller& caller, const CallerRow& row, const Message& request,
                                  Message* response, const Handle& handle) {
  if (request.ByteSizeLong() > options_.largest_request) {
    const absl::Status refusal = Error(absl::StatusCode::kResourceExhausted, "REQUEST_TOO_LARGE",
                                       fmt::format("the request is larger than {} bytes", options_.largest_request));
    RecordRefusal(caller, row, refusal);
    return refusal;
  }
  const std::string request_id = RequestIdOf(request);
  if (row.repeat == Repeat::kAgain || request_id.empty()) return RunRecorded(caller, row, request, handle);
  return RunOnce(caller, row, request, request_id, response, handle);
}

absl::Status RpcGate::RunOnce(const identity::Caller& caller, const CallerRow& row, const Message& request,
                              const std::string& request_id, Message* response, const Handle& handle) {
  if (!IsUuid(request_id)) {
    return Error(absl::StatusCode::kInvalidArgument, "INVALID_REQUEST_ID", "request_id must be a UUID",
                 "make a new one for each new request, and repeat it to retry");
  }
  const RequestMemory::Key key{CallerKey(caller), std::string(row.method), request_id};
  struct Running {
    RpcGate& gate;
    const RequestMemory::Key& key;
    Running(RpcGate& g, const RequestMemory::Key& k) : gate(g), key(k) {
      const auto free = [this]()
                            ABSL_EXCLUSIVE_LOCKS_REQUIRED(gate.running_mu_) { return !gate.running_.contains(key); };
      absl::MutexLock lock(&gate.running_mu_);
      gate.running_mu_.Await(absl::Condition(&free));
      gate.running_.insert(key);
    }
    ~Running() {
      absl::MutexLock lock(&gate.running_mu_);
      gate.running_.erase(key);
    }
  } running(*this, key);

  const std::string digest = DigestOf(request);
  POSTERN_ASSIGN_OR_RETURN(const std::optional<RequestMemory::Answer> before, memory_.Find(key, clock_.Now()));
  if (before.has_value()) {
    if (before->request_digest != digest) {
      return Error(absl::StatusCode::kInvalidArgument, "REQUEST_ID_REUSED",
                   fmt::format("request_id {} was used for another request", request_id), "make a new request_id");
    }
    if (response->ParseFromString(before->response)) return absl::OkStatus();
    return Error(absl::StatusCode::kDataLoss, "STORE_CORRUPT", "a remembered answer does not parse");
  }
  POSTERN_RETURN_IF_ERROR(RunRecorded(caller, row, request, handle));
  return memory_.Save(key, {.request_digest = digest, .response = response->SerializeAsString()}, clock_.Now());
}

absl::Status RpcGate::RunRecorded(const identity::Caller& caller, const CallerRow& row, const Message& request,
                                  const Handle& handle) {
  v1::AuditRecord act = ActOf(caller, row);
  if (row.record == Record::kNothing) return handle(caller, act);

  act.set_object(ObjectOf(request));
  if (const std::string request_id = RequestIdOf(request); !request_id.empty()) {
    (*act.mutable_detail())["request_id"] = request_id;
  }
  const auto record = [&](std::string_view outcome) {
    v1::AuditRecord copy = act;
    *copy.mutable_time() = ToTimestamp(clock_.Now());
    copy.set_outcome(std::string(outcome));
    return audit_.Record(std::move(copy));
  };
  if (row.record == Record::kGate) POSTERN_RETURN_IF_ERROR(record("intended"));
  const absl::Status status = handle(caller, act);
  AddResult(status, act);
  if (!status.ok()) {
    // The call fails with its own error whether this is written or not.
    record("failed").IgnoreError();
    return status;
  }
  return row.record == Record::kGate ? record("completed") : absl::OkStatus();
}

void RpcGate::RecordRefusal(const identity::Caller& caller, const CallerRow& row, const absl::Status& status) {
  if (row.record == Record::kNothing) return;
  v1::AuditRecord act = ActOf(caller, row);
  *act.mutable_time() = ToTimestamp(clock_.Now());
  act.set_outcome("refused");
  AddResult(status, act);
  // Nothing happened, so nothing depends on its being written.
  audit_.Record(std::move(act)).IgnoreError();
}

}  // namespace postern::server
