#include "controlplane/server/control_plane.h"

#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <arpa/inet.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/base/timestamps.h"
#include "common/obs/log.h"
#include "common/obs/metrics.h"
#include "controlplane/audit/audit_rpc.h"
#include "controlplane/fleet/catalogs.h"
#include "controlplane/fleet/hub.h"
#include "controlplane/fleet/sidecar_service.h"
#include "controlplane/identity/authenticator.h"
#include "controlplane/server/approval_rpc.h"
#include "controlplane/server/backend.h"
#include "controlplane/server/data_dir.h"
#include "controlplane/server/rpc_server.h"
#include "controlplane/server/service_keys.h"
#include "controlplane/server/services.h"
#include "controlplane/server/webhooks.h"
#include "controlplane/store/approval_store.h"
#include "controlplane/store/audit_store.h"
#include "controlplane/store/delivery_store.h"
#include "controlplane/store/fleet_store.h"
#include "controlplane/store/grant_store.h"
#include "controlplane/store/identity_store.h"
#include "controlplane/store/key_store.h"
#include "controlplane/store/policy_store.h"
#include "controlplane/store/request_memory.h"
#include "controlplane/store/session_store.h"
#include "controlplane/store/standing_store.h"
#include "controlplane/store/target_store.h"
#include "fmt/format.h"

namespace postern::server {
namespace {

// Made anew at each start. A process that runs for longer than this is one that misses its security updates.
constexpr absl::Duration kServerCertificateLifetime = absl::Hours(24 * 398);
// The first administrator's key; account keys may live for 400 days at most.
constexpr absl::Duration kFirstKeyLifetime = absl::Hours(24 * 365);

// Everything that keeps state, over one database.
struct Stores {
  explicit Stores(store::Database& database)
      : keys(database),
        grants(database),
        approvals(database),
        standing(database),
        deliveries(database),
        policy(database),
        targets(database),
        sessions(database),
        identity(database),
        audit(database),
        memory(database),
        fleet(store::NewSqlFleetStore(&database)) {}

  store::SqlKeyStore keys;
  store::SqlGrantStore grants;
  store::SqlApprovalStore approvals;
  store::SqlStandingStore standing;
  store::SqlDeliveryStore deliveries;
  store::SqlPolicyStore policy;
  store::SqlTargetStore targets;
  store::SqlSessionStore sessions;
  store::SqlIdentityStore identity;
  store::SqlAuditStore audit;
  store::SqlRequestMemory memory;
  std::unique_ptr<fleet::FleetStore> fleet;
};

bool IsAddress(const std::string& host) {
  unsigned char bytes[16];
  return inet_pton(AF_INET, host.c_str(), bytes) == 1 || inet_pton(AF_INET6, host.c_str(), bytes) == 1;
}

absl::StatusOr<TlsIdentity> MakeTlsIdentity(const Config& config, const crypto::CertificateAuthority& ca,
                                            const Clock& clock, Random& random) {
  POSTERN_ASSIGN_OR_RETURN(const crypto::EcPrivateKey key, crypto::EcPrivateKey::Generate());
  crypto::CertificateAuthority::ServerRequest request{
      .common_name = config.origin, .dns_names = {}, .ip_addresses = {}, .lifetime = kServerCertificateLifetime};
  for (const std::string& host : config.tls_hosts) {
    (IsAddress(host) ? request.ip_addresses : request.dns_names).push_back(host);
  }
  POSTERN_ASSIGN_OR_RETURN(const crypto::IssuedCertificate issued,
                           ca.IssueServer(key.public_key(), request, clock, random));
  return TlsIdentity{.certificate_chain_pem = issued.pem + ca.certificate_pem(),
                     .key_pem = key.ToPem(),
                     .client_ca_pem = ca.certificate_pem()};
}

audit::AuditLog::Options AuditOptions(const Config& config) {
  audit::AuditLog::Options options;
  options.origin = config.origin;
  return options;
}

}  // namespace

absl::StatusOr<std::string> Initialise(const Config& config, const InitOptions& options, const Clock& clock,
                                       Random& random) {
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<DataDir> dir, DataDir::Open(config.data_dir));
  const absl::Status made = crypto::Keyring::CreateFile(config.kek_file, "kek-1", random);
  if (!made.ok() && made.code() != absl::StatusCode::kAlreadyExists) return made;
  POSTERN_ASSIGN_OR_RETURN(crypto::Keyring keyring, crypto::Keyring::Load(config.kek_file));
  const credential::CredentialVault vault(std::move(keyring), random);
  POSTERN_ASSIGN_OR_RETURN(const std::unique_ptr<store::Database> database,
                           store::Database::Open(StoreLocation(config, dir->database_path())));
  Stores stores(*database);

  // An attempt that was cut off half way goes on where it stopped; the administrator comes last.
  const absl::Status keys_made = ServiceKeys::Create(stores.keys, vault, config.origin, clock, random);
  if (!keys_made.ok() && keys_made.code() != absl::StatusCode::kAlreadyExists) return keys_made;
  POSTERN_ASSIGN_OR_RETURN(const ServiceKeys keys, ServiceKeys::Load(stores.keys, vault));
  POSTERN_RETURN_IF_ERROR(dir->WriteFile(dir->ca_path(), keys.ca().certificate_pem()));

  POSTERN_ASSIGN_OR_RETURN(
      const std::unique_ptr<audit::AuditLog> audit,
      audit::AuditLog::Open(AuditOptions(config), stores.audit, keys.audit_key().key, clock, random));
  v1::Account admin;
  admin.set_id(options.admin_id);
  v1::AccountKey* key = admin.add_keys();
  key->set_public_key_pem(options.admin_public_key_pem);
  *key->mutable_expire_time() = ToTimestamp(clock.Now() + kFirstKeyLifetime);
  const identity::IdentityDeps deps{stores.identity, *audit, clock,
                                    [](std::string_view, std::string_view) { return absl::OkStatus(); }};
  POSTERN_RETURN_IF_ERROR(identity::BootstrapAdmin(deps, admin));
  return dir->ca_path();
}

// Members are in the order in which they are made; each may use those before it, and they go in the reverse order.
struct ControlPlane::Parts {
  Parts(const Config& c, const Clock& k, Random& r) : config(c), clock(k), random(r) {}

  const Config config;
  const Clock& clock;
  Random& random;
  obs::Metrics metrics;
  std::unique_ptr<DataDir> dir;
  std::unique_ptr<store::Database> database;
  std::unique_ptr<credential::CredentialVault> vault;
  std::unique_ptr<Stores> stores;
  std::optional<ServiceKeys> keys;
  std::unique_ptr<audit::AuditLog> audit;
  std::unique_ptr<policy::PolicyBook> book;

  std::unique_ptr<StoreSources> sources;
  std::unique_ptr<fleet::Hub> hub;
  std::unique_ptr<fleet::Catalogs> catalogs;
  std::unique_ptr<approval::Approvals> approvals;
  std::vector<webhook::Endpoint> endpoints;
  std::unique_ptr<webhook::Dispatcher> dispatcher;
  std::unique_ptr<RoomBackend> backend;

  std::optional<grant::TokenDeps> token_deps;
  std::optional<session::SessionDeps> session_deps;
  std::optional<target::TargetDeps> target_deps;
  std::optional<policy::PolicyDeps> policy_deps;
  std::optional<identity::IdentityDeps> identity_deps;

  std::unique_ptr<identity::HttpFetcher> fetcher;
  std::unique_ptr<identity::Authenticator> authenticator;
  std::unique_ptr<RpcGate> gate;

  std::unique_ptr<TokenRpc> token_rpc;
  std::unique_ptr<ApprovalRpc> approval_rpc;
  std::unique_ptr<PolicyRpc> policy_rpc;
  std::unique_ptr<TargetRpc> target_rpc;
  std::unique_ptr<SessionRpc> session_rpc;
  std::unique_ptr<IdentityRpc> identity_rpc;
  std::unique_ptr<audit::AuditRpc> audit_rpc;
  std::unique_ptr<fleet::SidecarService> sidecar_rpc;

  std::unique_ptr<RpcServer> server;
  std::unique_ptr<obs::MetricsEndpoint> metrics_endpoint;
  bool stopped = false;

  absl::Status OpenStores();
  void MakeRooms();
  void MakeGate();
  void MakeServices();
  absl::Status Serve();
  void Report(const CallReport& call);
  absl::StatusOr<std::optional<approval::Freeze>> FreezeFor(const v1::Approval& asked, absl::Time now) const;
};

absl::Status ControlPlane::Parts::OpenStores() {
  absl::StatusOr<crypto::Keyring> keyring = crypto::Keyring::Load(config.kek_file);
  if (keyring.status().code() == absl::StatusCode::kNotFound) {
    return Error(absl::StatusCode::kFailedPrecondition, "NOT_INITIALISED",
                 fmt::format("there is no key file {}", config.kek_file),
                 "run `postern-controlplane --config FILE init` first, or bring the file back");
  }
  POSTERN_RETURN_IF_ERROR(keyring.status());
  POSTERN_ASSIGN_OR_RETURN(dir, DataDir::Open(config.data_dir));
  vault = std::make_unique<credential::CredentialVault>(*std::move(keyring), random);
  POSTERN_ASSIGN_OR_RETURN(database, store::Database::Open(StoreLocation(config, dir->database_path())));
  stores = std::make_unique<Stores>(*database);
  POSTERN_ASSIGN_OR_RETURN(keys, ServiceKeys::Load(stores->keys, *vault));
  POSTERN_ASSIGN_OR_RETURN(
      audit, audit::AuditLog::Open(AuditOptions(config), stores->audit, keys->audit_key().key, clock, random));
  POSTERN_ASSIGN_OR_RETURN(book, policy::PolicyBook::Open(stores->policy));
  POSTERN_ASSIGN_OR_RETURN(endpoints, LoadWebhooks(config));
  return dir->WriteFile(dir->ca_path(), keys->ca().certificate_pem());
}

void ControlPlane::Parts::MakeRooms() {
  sources = std::make_unique<StoreSources>(
      StoreSources::Deps{stores->policy, stores->targets, stores->grants, *audit, *vault, *keys, clock, config.origin});
  hub = std::make_unique<fleet::Hub>(fleet::HubOptions{}, *sources, *stores->fleet, clock);
  catalogs = std::make_unique<fleet::Catalogs>(*stores->fleet);
  approvals = std::make_unique<approval::Approvals>(
      stores->approvals, stores->standing, stores->grants, *hub, *audit, clock, random,
      [this](const v1::Approval& asked, absl::Time now) { return FreezeFor(asked, now); });
  dispatcher = std::make_unique<webhook::Dispatcher>(std::move(endpoints), *approvals, stores->approvals,
                                                     stores->deliveries, PostToWebhook, clock, random);
  backend = std::make_unique<RoomBackend>(
      RoomBackend::Deps{*approvals, stores->grants, stores->targets, stores->sessions, *audit, *vault, clock});

  token_deps.emplace(grant::TokenDeps{stores->grants, stores->targets, *book, *approvals, *hub, *audit,
                                      [this] { return keys->token_signer(); }, clock, random, config.origin});
  session_deps.emplace(session::SessionDeps{stores->sessions, *audit, *hub});
  target_deps.emplace(target::TargetDeps{stores->targets, *vault, *hub, clock, [this](std::string_view target) {
                                           return session::CutSessionsOn(*session_deps, target, "target deleted");
                                         }});
  policy_deps.emplace(policy::PolicyDeps{stores->policy, *book, *catalogs, stores->targets, *hub, clock});
  identity_deps.emplace(
      identity::IdentityDeps{stores->identity, *audit, clock, [this](std::string_view agent, std::string_view reason) {
                               return grant::RevokeGrantsOf(*token_deps, agent, reason);
                             }});
}

absl::StatusOr<std::optional<approval::Freeze>> ControlPlane::Parts::FreezeFor(const v1::Approval& asked,
                                                                               absl::Time now) const {
  POSTERN_ASSIGN_OR_RETURN(const grant::Grant grant, stores->grants.Get(asked.grant_id()));
  POSTERN_ASSIGN_OR_RETURN(const target::StoredTarget target, stores->targets.Get(asked.target()));
  const std::optional<policy::FreezeView> found = book->Current()->FreezeAt(
      {.agent = asked.agent(),
       .on_behalf_of = asked.on_behalf_of(),
       .groups = {grant.body.groups().begin(), grant.body.groups().end()}},
      {.name = asked.target(), .database = asked.database(), .env = target.target.env()}, now);
  if (!found.has_value()) return std::optional<approval::Freeze>();
  return std::optional<approval::Freeze>({.name = found->name, .message = found->message, .until = found->until});
}

void ControlPlane::Parts::MakeGate() {
  fetcher = identity::NewHttpFetcher();
  identity::Authenticator::Options options;
  options.origin = config.origin;
  options.admit_sidecar = [this](std::string_view id, std::string_view certificate_pem) {
    return fleet::AdmitSidecar(*stores->fleet, id, certificate_pem, clock.Now()).status();
  };
  authenticator = std::make_unique<identity::Authenticator>(std::move(options), stores->identity, *fetcher, clock);
  const auto authenticate = [this](const CallCredentials& call) {
    return authenticator->Authenticate(
        {.authorization = call.authorization, .certificate_pem = call.certificate_pem, .peer = call.peer});
  };
  RpcGate::Options limits;
  limits.calls_per_second = config.limits.calls_per_second;
  limits.burst = config.limits.burst;
  limits.largest_request = static_cast<size_t>(config.limits.largest_request_bytes);
  gate = std::make_unique<RpcGate>(limits, authenticate, stores->memory, *audit, clock,
                                   [this](const CallReport& call) { Report(call); });
}

void ControlPlane::Parts::MakeServices() {
  token_rpc = std::make_unique<TokenRpc>(*gate, *token_deps);
  approval_rpc = std::make_unique<ApprovalRpc>(*gate, *approvals, *dispatcher);
  policy_rpc = std::make_unique<PolicyRpc>(*gate, *policy_deps);
  target_rpc = std::make_unique<TargetRpc>(*gate, *target_deps);
  session_rpc = std::make_unique<SessionRpc>(*gate, *session_deps);
  identity_rpc = std::make_unique<IdentityRpc>(*gate, *identity_deps);
  audit_rpc = std::make_unique<audit::AuditRpc>(*gate, *audit);
  sidecar_rpc = std::make_unique<fleet::SidecarService>(
      fleet::SidecarService::Options{},
      fleet::EnrolmentDeps{*stores->fleet, *hub, *audit, keys->ca(), clock, random, config.origin, config.advertise},
      fleet::RequestDeps{*backend, *audit, clock}, *catalogs, *gate);
}

absl::Status ControlPlane::Parts::Serve() {
  POSTERN_ASSIGN_OR_RETURN(const TlsIdentity tls, MakeTlsIdentity(config, keys->ca(), clock, random));
  POSTERN_ASSIGN_OR_RETURN(
      server, RpcServer::Start(config.listen, tls,
                               {token_rpc.get(), approval_rpc.get(), policy_rpc.get(), target_rpc.get(),
                                session_rpc.get(), identity_rpc.get(), audit_rpc.get(), sidecar_rpc.get()}));
  if (!config.metrics.empty()) {
    POSTERN_ASSIGN_OR_RETURN(metrics_endpoint, obs::MetricsEndpoint::Start(config.metrics, metrics));
  }
  return absl::OkStatus();
}

void ControlPlane::Parts::Report(const CallReport& call) {
  const std::string method(call.method);
  const std::string code = absl::StatusCodeToString(call.code);
  metrics
      .NewCounter("postern_controlplane_calls_total", "Calls answered, by method and gRPC code",
                  {{"method", method}, {"code", code}})
      .Increment();
  metrics
      .NewHistogram("postern_controlplane_call_seconds", "Time to answer a call, streams only until they are admitted",
                    {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 5}, {{"method", method}})
      .Observe(absl::ToDoubleSeconds(call.took));
  // Reads that succeed are no news.
  const CallerRow* row = FindRow(call.method);
  const bool news = call.code != absl::StatusCode::kOk || (row != nullptr && row->record != Record::kNothing);
  const std::string took = fmt::format("{}", absl::ToInt64Microseconds(call.took));
  obs::Log(news ? obs::Level::kInfo : obs::Level::kDebug, "call",
           {{"method", method},
            {"caller", call.caller},
            {"peer", call.peer},
            {"code", code},
            {"reason", call.reason},
            {"micros", took}});
}

absl::StatusOr<std::unique_ptr<ControlPlane>> ControlPlane::Start(const Config& config, const Clock& clock,
                                                                  Random& random) {
  auto parts = std::make_unique<Parts>(config, clock, random);
  POSTERN_RETURN_IF_ERROR(parts->OpenStores());
  parts->MakeRooms();
  parts->MakeGate();
  parts->MakeServices();
  POSTERN_RETURN_IF_ERROR(parts->Serve());
  return std::unique_ptr<ControlPlane>(new ControlPlane(std::move(parts)));
}

ControlPlane::ControlPlane(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}

ControlPlane::~ControlPlane() { Stop(absl::ZeroDuration()); }

int ControlPlane::port() const { return parts_->server->port(); }

int ControlPlane::metrics_port() const {
  return parts_->metrics_endpoint == nullptr ? 0 : parts_->metrics_endpoint->port();
}

std::string ControlPlane::ca_path() const { return parts_->dir->ca_path(); }

void ControlPlane::Stop(absl::Duration grace) {
  if (std::exchange(parts_->stopped, true)) return;
  // Sidecars' streams never end by themselves; they are told first, and come back to whoever serves next.
  parts_->sidecar_rpc->Stop();
  parts_->hub->Stop();
  parts_->server->Shutdown(grace);
}

}  // namespace postern::server
