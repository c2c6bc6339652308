// The steps around every RPC, in one visible order:
//
//   1. row           the RPC has a row in kWhoMayCall
//   2. authenticate  who calls: bearer token or client certificate
//   3. rate          not more often than one caller may (sidecars speak for many, and have no limit)
//   4. authorize     the row allows that caller
//   5. size          the request is no larger than it may be
//   6. repeat        a request_id that was answered is answered again
//   7. record        a mutation is in the audit log before it happens
//   8. handle        the room's own function
//   9. record        ... and its result after; refusals of mutations, too
//  10. report        metrics and a log line; the status goes over the wire with its reason
//
// Streams take steps 1 to 4 by Admit().
#pragma once

#include <functional>
#include <set>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "controlplane/audit/audit_sink.h"
#include "controlplane/fleet/call_gate.h"
#include "controlplane/identity/caller.h"
#include "controlplane/server/rate_limiter.h"
#include "controlplane/server/request_memory.h"
#include "controlplane/server/who_may_call.h"
#include "google/protobuf/message.h"
#include "grpcpp/support/status.h"
#include "postern/v1/audit.pb.h"

namespace postern::server {

// How one call went, for metrics and the log. Holds no secret and no content.
struct CallReport {
  std::string_view method;
  // Empty if the caller is not known.
  std::string caller;
  std::string peer;
  absl::StatusCode code = absl::StatusCode::kOk;
  std::string reason;
  absl::Duration took;
};

// What the transport knows of a call.
struct CallCredentials {
  std::string authorization;
  std::string certificate_pem;
  std::string peer;
};

// Thread-safe.
class RpcGate final : public fleet::CallGate {
 public:
  struct Options {
    double calls_per_second = 200;
    double burst = 400;
    size_t largest_request = size_t{4} << 20;
  };
  using Authenticate = std::function<absl::StatusOr<identity::Caller>(const CallCredentials&)>;
  using Report = std::function<void(const CallReport&)>;

  // The references outlive the gate; the functions are called on many threads.
  RpcGate(Options options, Authenticate authenticate, RequestMemory& memory, audit::AuditSink& audit,
          const Clock& clock, Report report);

  // Steps 1 to 4. JoinSidecar's caller is an empty principal.
  absl::StatusOr<identity::Caller> Admit(const grpc::ServerContextBase& context, std::string_view method) override;
  grpc::Status ToGrpc(const absl::Status& status) override;

  // A unary call, all steps. `handle` gets the caller and the audit record of the call, to which it may add.
  using Handle = std::function<absl::Status(const identity::Caller& caller, v1::AuditRecord& act)>;
  grpc::Status Run(const grpc::ServerContextBase& context, std::string_view method,
                   const google::protobuf::Message& request, google::protobuf::Message* response, const Handle& handle);

 private:
  absl::StatusOr<identity::Caller> AdmitBy(const CallCredentials& credentials, const CallerRow& row);
  absl::Status RunAdmitted(const identity::Caller& caller, const CallerRow& row,
                           const google::protobuf::Message& request, google::protobuf::Message* response,
                           const Handle& handle);
  absl::Status RunRecorded(const identity::Caller& caller, const CallerRow& row,
                           const google::protobuf::Message& request, const Handle& handle);
  absl::Status RunOnce(const identity::Caller& caller, const CallerRow& row, const google::protobuf::Message& request,
                       const std::string& request_id, google::protobuf::Message* response, const Handle& handle);
  // A refusal before the handler. Only refused mutations of known callers are recorded.
  void RecordRefusal(const identity::Caller& caller, const CallerRow& row, const absl::Status& status);

  const Options options_;
  const Authenticate authenticate_;
  RequestMemory& memory_;
  audit::AuditSink& audit_;
  const Clock& clock_;
  const Report report_;
  RateLimiter limiter_;

  // Requests that are being handled now, by key: a repeat waits for the first one's answer.
  absl::Mutex running_mu_;
  std::set<RequestMemory::Key> running_ ABSL_GUARDED_BY(running_mu_);
};

}  // namespace postern::server
