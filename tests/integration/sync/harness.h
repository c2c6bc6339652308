// A control plane that has nothing but a fleet, and a sidecar that has nothing but an uplink.
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <grpcpp/grpcpp.h>

#include "common/base/errors.h"
#include "common/base/ids.h"
#include "common/crypto/certificate.h"
#include "common/crypto/ec_key.h"
#include "controlplane/fleet/sidecar_service.h"
#include "controlplane/store/fleet_store.h"
#include "postern/v1/error.pb.h"
#include "sidecar/spool/spool.h"
#include "sidecar/uplink/join.h"
#include "sidecar/uplink/uplink_client.h"
#include "tests/unit/controlplane/fleet/fleet_fakes.h"
#include "tests/unit/controlplane/store/temp_store.h"
#include "tests/unit/sidecar/uplink/temp_dir.h"

namespace postern {

// The clock of the system, set ahead by as much as a test says. Monotonic time is the system's.
class ShiftedClock final : public Clock {
 public:
  absl::Time Now() const override {
    absl::MutexLock lock(&mu_);
    return Clock::System().Now() + shift_;
  }
  absl::Duration Monotonic() const override { return Clock::System().Monotonic(); }
  void Shift(absl::Duration by) {
    absl::MutexLock lock(&mu_);
    shift_ += by;
  }

 private:
  mutable absl::Mutex mu_;
  absl::Duration shift_ ABSL_GUARDED_BY(mu_);
};

// Lets everyone in as what its certificate says, or as the admin without one.
class TestGate final : public fleet::CallGate {
 public:
  absl::StatusOr<identity::Caller> Admit(const grpc::ServerContextBase& context, std::string_view) override {
    identity::Caller caller;
    caller.principal.set_kind(v1::PERSON);
    caller.principal.set_id("ada");
    const auto certificates = context.auth_context()->FindPropertyValues("x509_pem_cert");
    if (certificates.empty()) return caller;
    auto info = crypto::ReadCertificate(std::string(certificates[0].data(), certificates[0].size()));
    if (!info.ok() || info->uris.size() != 1) return absl::UnauthenticatedError("no name in the certificate");
    caller.principal.set_kind(v1::SIDECAR);
    caller.principal.set_id(crypto::SidecarIdOfUri(info->uris[0], "cp.example"));
    return caller;
  }
  grpc::Status ToGrpc(const absl::Status& status) override {
    if (status.ok()) return grpc::Status::OK;
    v1::ErrorInfo info;
    info.set_reason(ReasonOf(status));
    v1::ErrorStatus details;
    details.add_details()->set_value(info.SerializeAsString());
    return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message()), details.SerializeAsString()};
  }
};

class ControlPlane {
 public:
  ControlPlane()
      : ca_(*crypto::CertificateAuthority::CreateRoot("postern test", clock, Random::System())),
        store_(store::NewSqlFleetStore(&*database_)) {
    sources.AddTarget("demo");
    absl::MutexLock lock(&sources.mu);
    sources.policy.set_revision(1);
    v1::TokenKey& key = sources.keys.emplace_back();
    key.set_key_id("k1");
    key.set_public_key_pem(crypto::EcPrivateKey::Generate()->public_key().ToPem());
  }
  ~ControlPlane() { Stop(); }

  // On the same port as before, if there was one.
  void Start() {
    hub_ = std::make_unique<fleet::Hub>(fleet::HubOptions{.lease = absl::Seconds(60),
                                                          .lease_interval = absl::Milliseconds(200),
                                                          .retry_interval = absl::Milliseconds(50),
                                                          .outbox = {}},
                                        sources, *store_, clock);
    catalogs_ = std::make_unique<fleet::Catalogs>(*store_);
    service_ = std::make_unique<fleet::SidecarService>(
        fleet::SidecarService::Options{.join_penalty = absl::Milliseconds(50), .max_waiting_joins = 4},
        fleet::EnrolmentDeps{*store_, *hub_, audit, ca_, clock, Random::System(), "cp.example", "localhost:0"},
        fleet::RequestDeps{backend, audit, clock}, *catalogs_, gate_);
    auto key = *crypto::EcPrivateKey::Generate();
    auto certificate = *ca_.IssueServer(
        key.public_key(),
        {.common_name = "cp", .dns_names = {"localhost"}, .ip_addresses = {}, .lifetime = absl::Hours(1)}, clock,
        Random::System());
    grpc::SslServerCredentialsOptions tls(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
    tls.pem_root_certs = ca_.certificate_pem();
    tls.pem_key_cert_pairs.push_back({std::string(key.ToPem().Expose()), certificate.pem + ca_.certificate_pem()});
    grpc::ServerBuilder builder;
    builder.AddListeningPort("localhost:" + std::to_string(port_), grpc::SslServerCredentials(tls), &port_);
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, 5000);
    builder.RegisterService(service_.get());
    server_ = builder.BuildAndStart();
    ASSERT_NE(server_, nullptr);
    ASSERT_NE(port_, 0);
  }

  void Stop() {
    if (server_ == nullptr) return;
    service_->Stop();
    server_->Shutdown(std::chrono::system_clock::now() + std::chrono::seconds(1));
    server_.reset();
    service_.reset();
    catalogs_.reset();
    hub_.reset();
  }

  std::string Invite() {
    v1::InviteSidecarRequest request;
    request.set_name("edge-1");
    request.add_targets("demo");
    v1::InviteSidecarResponse response;
    fleet::EnrolmentDeps deps{
        *store_, *hub_, audit, ca_, clock, Random::System(), "cp.example", "localhost:" + std::to_string(port_)};
    absl::Status status = fleet::InviteSidecar(deps, identity::Caller(), request, &response);
    EXPECT_TRUE(status.ok()) << status;
    return response.join_line();
  }

  void RevokeSidecar(const std::string& id) {
    v1::RevokeSidecarRequest request;
    request.set_id(id);
    request.set_reason("lost");
    v1::Sidecar sidecar;
    fleet::EnrolmentDeps deps{*store_, *hub_, audit, ca_, clock, Random::System(), "cp.example", ""};
    ASSERT_TRUE(fleet::RevokeSidecar(deps, identity::Caller(), request, &sidecar).ok());
  }

  fleet::Hub& hub() { return *hub_; }
  fleet::FleetStore& store() { return *store_; }
  fleet::Catalogs& catalogs() { return *catalogs_; }
  const crypto::CertificateAuthority& ca() const { return ca_; }
  int port() const { return port_; }

  ShiftedClock clock;
  fleet::FakeSources sources;
  fleet::FakeAudit audit;
  fleet::FakeBackend backend;

 private:
  store::TempStore database_;
  TestGate gate_;
  crypto::CertificateAuthority ca_;
  std::unique_ptr<fleet::FleetStore> store_;
  std::unique_ptr<fleet::Hub> hub_;
  std::unique_ptr<fleet::Catalogs> catalogs_;
  std::unique_ptr<fleet::SidecarService> service_;
  std::unique_ptr<grpc::Server> server_;
  int port_ = 0;
};

// Writes down what it is told.
class Events final : public sidecar::UplinkListener {
 public:
  void OnRevoked(const std::string& grant_id, const std::string&) override { Add("revoked " + grant_id); }
  void OnKillSession(const std::string& session_id, const std::string&) override { Add("kill " + session_id); }
  void OnApproval(const v1::Approval& approval) override {
    Add("approval " + approval.id() + " " + v1::ApprovalState_Name(approval.state()));
  }
  void OnStateChanged() override { Add("state"); }

  bool Await(const std::string& event) {
    absl::MutexLock lock(&mu_);
    auto seen = [this, &event]() ABSL_NO_THREAD_SAFETY_ANALYSIS {
      return std::find(events_.begin(), events_.end(), event) != events_.end();
    };
    return mu_.AwaitWithTimeout(absl::Condition(&seen), absl::Seconds(20));
  }
  // For `condition`, which some event makes true.
  bool AwaitTrue(const std::function<bool()>& condition) {
    absl::MutexLock lock(&mu_);
    const absl::Time end = absl::Now() + absl::Seconds(20);
    while (!condition()) {
      if (changed_.WaitWithDeadline(&mu_, std::min(end, absl::Now() + absl::Milliseconds(20))) && absl::Now() >= end) {
        return false;
      }
    }
    return true;
  }
  void Clear() {
    absl::MutexLock lock(&mu_);
    events_.clear();
  }

 private:
  void Add(std::string event) {
    absl::MutexLock lock(&mu_);
    events_.push_back(std::move(event));
    changed_.SignalAll();
  }

  absl::Mutex mu_;
  absl::CondVar changed_;
  std::vector<std::string> events_ ABSL_GUARDED_BY(mu_);
};

}  // namespace postern
