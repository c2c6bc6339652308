// One client connection from its first byte to its last.
//
//   startup.cc  TLS with the client, the start-up packet, the password
//   login.cc    token → grant → credential → server
//   session.cc  the session's life and end
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "postern/v1/sidecar.pb.h"
#include "sidecar/reactor/event_loop.h"
#include "sidecar/reactor/stream.h"
#include "sidecar/reactor/task.h"
#include "sidecar/session/audit_trail.h"
#include "sidecar/session/registry.h"
#include "sidecar/session/relay.h"
#include "sidecar/session/services.h"
#include "sidecar/session/session_info.h"
#include "sidecar/session/startup_parameters.h"
#include "sidecar/wire/startup.h"

namespace postern::session {

// Where a connection comes from, as the listener saw it.
struct Peer {
  std::string address;  // "127.0.0.1:51234", or "local" for unix sockets
  // Loopback and unix sockets may go without TLS: their bytes do not leave the machine.
  bool local = false;
  bool unix_socket = false;
};

// Belongs to one event loop, save for SessionControl. Keeps itself alive while it runs.
class Session : public SessionControl, public std::enable_shared_from_this<Session> {
 public:
  Session(reactor::EventLoop& loop, const Services& services, WarmPool& warm, std::unique_ptr<reactor::Stream> client,
          Peer peer);
  ~Session() override;

  // Serves the connection to its end. `session` is kept by the coroutine.
  static reactor::Task<void> Run(std::shared_ptr<Session> session);

  void EndSoon(Ending ending) override;
  void CancelSoon() override;
  void DrainSoon(Ending ending) override;

 private:
  // --- startup.cc ---
  // Up to the client's StartupMessage. nullopt: the connection is over (refused, or it was a CancelRequest).
  reactor::Task<std::optional<ClientStartup>> ReadStartupMessage();
  reactor::Task<bool> NegotiateEncryption(bool tls_wanted);
  reactor::Task<bool> AcceptTls(bool direct);
  reactor::Task<std::optional<wire::StartupPacket>> ReadStartupPacket();
  std::optional<ClientStartup> TakeStartup(const wire::StartupPacket& packet);
  // The token, asked for as the client or else the configuration says. std::nullopt: the connection is over.
  reactor::Task<std::optional<crypto::Secret>> AskToken();
  reactor::Task<std::optional<crypto::Secret>> AskPassword();
  reactor::Task<std::optional<crypto::Secret>> AskBearer();
  // The body of the one message of type 'p' that the client owes now. std::nullopt: something else came, and the
  // connection is over.
  reactor::Task<std::optional<crypto::Secret>> ReadPasswordBody();
  // Tells an OAUTHBEARER client that its token is not accepted, and where to get one. False: it did not answer.
  reactor::Task<bool> ChallengeBearer();
  AuthMethod auth_method() const { return startup_.auth.value_or(services_.auth.method); }

  // --- login.cc ---
  // Everything between the token and the first query. False: refused, and the client has been told.
  reactor::Task<bool> LogIn(crypto::Secret token);
  absl::Status VerifyToken(const crypto::Secret& token);
  absl::Status ChooseTerms(const ClientStartup& startup);
  reactor::Task<absl::StatusOr<v1::ReleaseCredentialResponse>> ReleaseCredential();
  reactor::Task<absl::Status> AwaitCatalog();
  reactor::Task<absl::Status> OpenRelay(const ClientStartup& startup);
  // A warm connection, or a new one.
  reactor::Task<absl::StatusOr<UpstreamConnection>> TakeUpstream(UpstreamRequest request);
  UpstreamRequest MakeUpstreamRequest(const ClientStartup& startup, v1::ReleaseCredentialResponse credential) const;
  void Welcome();
  absl::Status StillGranted() const;

  // --- session.cc ---
  void Refuse(const wire::ErrorFields& fatal, std::string_view reason);
  void RefuseStatus(const absl::Status& status);
  void StartExpiryTimer();
  // Tells the control plane that the session lives, or that it has ended for `end_reason`.
  void Report(std::string_view end_reason) const;
  reactor::Task<void> Linger();

  reactor::EventLoop& loop_;
  const Services& services_;
  WarmPool& warm_;
  std::unique_ptr<reactor::Stream> client_;
  const Peer peer_;
  SessionInfo info_;
  std::optional<AuditTrail> audit_;
  std::optional<Registry::CancelKey> key_;
  std::unique_ptr<sidecar::CatalogService::Following> following_;
  std::unique_ptr<Relay> relay_;
  std::vector<std::string> server_notices_;
  ClientStartup startup_;
  absl::Time start_time_;
  std::optional<reactor::EventLoop::TimerId> startup_timer_;
  std::optional<reactor::EventLoop::TimerId> expiry_timer_;
  // Ended from outside before the relay began.
  std::optional<Ending> ended_early_;
  // The client has heard ReadyForQuery.
  bool welcomed_ = false;
  bool refused_ = false;
};

}  // namespace postern::session
