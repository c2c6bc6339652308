// From the first byte to the password.
#include <algorithm>

#include <openssl/crypto.h>

#include "common/base/errors.h"
#include "common/base/strings.h"
#include "fmt/format.h"
#include "sidecar/session/session.h"
#include "sidecar/wire/build.h"
#include "sidecar/wire/framing.h"
#include "sidecar/wire/frontend.h"

namespace postern::session {

using reactor::ReadResult;
using reactor::Task;
using wire::StartupPacket;

namespace {

constexpr char kTlsHandshake = 0x16;
// libpq asks for GSS and TLS one after the other; more than that is no client.
constexpr int kMaxNegotiations = 4;

wire::ErrorFields Fields(std::string_view sqlstate, std::string_view message, std::string_view detail = {},
                         std::string_view hint = {}) {
  wire::ErrorFields fields = PosternError(sqlstate, message, detail, hint);
  fields.severity = "FATAL";
  return fields;
}

}  // namespace

// Reads exactly one packet and leaves what follows in the socket: it may belong to a TLS handshake.
Task<std::optional<StartupPacket>> Session::ReadStartupPacket() {
  std::string in;
  StartupPacket packet;
  for (;;) {
    const wire::Read read = wire::ReadStartup(in, &packet);
    if (read == wire::Read::kMessage) co_return packet;
    if (read == wire::Read::kMalformed) co_return std::nullopt;
    size_t want = 4;
    if (in.size() >= 4) {
      want = 0;
      for (size_t i = 0; i < 4; ++i) want = want << 8 | static_cast<uint8_t>(in[i]);
    }
    co_await client_->Readable();
    if (client_->Read(&in, want - in.size()) == ReadResult::kClosed) co_return std::nullopt;
  }
}

Task<bool> Session::AcceptTls(bool direct) {
  const absl::Status accepted = co_await client_->AcceptTls(services_.client_tls->NewSsl());
  if (!accepted.ok()) co_return false;
  // Without ALPN another protocol's client could be made to talk to us.
  co_return !direct || NegotiatedPostgresAlpn(client_->ssl());
}

// Answers SSLRequest or GSSENCRequest. False: the connection is over.
Task<bool> Session::NegotiateEncryption(bool tls_wanted) {
  if (client_->ssl() != nullptr) co_return false;
  // Bytes behind the request came in clear: whoever sent them may not be the client (CVE-2021-23214).
  char extra = 0;
  if (client_->Peek(&extra, 1) != 0) {
    Refuse(Fields("08P01", "received unencrypted data after encryption request",
                  "This could be either a client-software bug or evidence of an attempted man-in-the-middle attack."),
           "protocol");
    co_return false;
  }
  const bool tls = tls_wanted && services_.client_tls != nullptr && !peer_.unix_socket;
  client_->out().push_back(tls ? 'S' : 'N');
  client_->Flush();
  if (!tls) co_return true;
  co_return co_await AcceptTls(/*direct=*/false);
}

Task<std::optional<ClientStartup>> Session::ReadStartupMessage() {
  char first = 0;
  co_await client_->Readable();
  if (!peer_.unix_socket && services_.client_tls != nullptr && client_->Peek(&first, 1) == 1 &&
      first == kTlsHandshake) {
    const bool accepted = co_await AcceptTls(/*direct=*/true);
    if (!accepted) co_return std::nullopt;
  }
  for (int i = 0; i < kMaxNegotiations; ++i) {
    const std::optional<StartupPacket> packet = co_await ReadStartupPacket();
    if (!packet.has_value()) co_return std::nullopt;
    const StartupPacket::Kind kind = packet->kind;
    if (kind == StartupPacket::Kind::kStartup) co_return TakeStartup(*packet);
    if (kind == StartupPacket::Kind::kCancelRequest) {
      services_.registry.Cancel(packet->process_id, packet->secret_key);
      co_return std::nullopt;
    }
    if (kind == StartupPacket::Kind::kUnsupportedVersion) {
      Refuse(Fields("0A000", fmt::format("unsupported frontend protocol {}.{}: only 3.0 to 3.2 are spoken",
                                         packet->major, packet->minor)),
             "protocol");
      co_return std::nullopt;
    }
    const bool secured = co_await NegotiateEncryption(kind == StartupPacket::Kind::kSslRequest);
    if (!secured) co_return std::nullopt;
  }
  co_return std::nullopt;
}

std::optional<ClientStartup> Session::TakeStartup(const StartupPacket& packet) {
  if (client_->ssl() == nullptr && !peer_.local) {
    Refuse(Fields("28000", "TLS is required", "The token would travel in clear.",
                  "Connect with sslmode=require or higher."),
           "no TLS");
    return std::nullopt;
  }
  wire::ErrorFields refusal;
  std::optional<ClientStartup> startup = JudgeStartup(packet, &refusal);
  if (!startup.has_value()) {
    Refuse(refusal, "start-up parameters");
    return std::nullopt;
  }
  if (startup->negotiate)
    wire::AppendNegotiateProtocolVersion(startup->minor, startup->unknown_options, &client_->out());
  return startup;
}

Task<std::optional<crypto::Secret>> Session::AskToken() {
  if (auth_method() == AuthMethod::kOauthBearer) co_return co_await AskBearer();
  co_return co_await AskPassword();
}

Task<std::optional<crypto::Secret>> Session::ReadPasswordBody() {
  std::string in;
  wire::Message message;
  for (;;) {
    const wire::Read read = wire::ReadFrontend(in, &message);
    if (read == wire::Read::kMessage) break;
    if (read == wire::Read::kMalformed) co_return std::nullopt;
    co_await client_->Readable();
    if (client_->Read(&in, wire::kSmallMessageLimit + 1 - std::min<size_t>(in.size(), wire::kSmallMessageLimit)) ==
        ReadResult::kClosed) {
      co_return std::nullopt;
    }
  }
  // Nothing may follow: the client has no reason to speak before it is let in.
  std::optional<crypto::Secret> body;
  if (message.type == 'p' && message.whole.size() == in.size()) body.emplace(message.body);
  OPENSSL_cleanse(in.data(), in.size());
  if (!body.has_value()) Refuse(Fields("08P01", "expected a password message and nothing else"), "protocol");
  co_return body;
}

Task<std::optional<crypto::Secret>> Session::AskPassword() {
  wire::AppendAuthenticationCleartext(&client_->out());
  client_->Flush();
  const std::optional<crypto::Secret> body = co_await ReadPasswordBody();
  if (!body.has_value()) co_return std::nullopt;
  const auto password = wire::ParsePassword(body->Expose());
  if (password.has_value()) co_return crypto::Secret(*password);
  Refuse(Fields("08P01", "malformed password message"), "protocol");
  co_return std::nullopt;
}

Task<std::optional<crypto::Secret>> Session::AskBearer() {
  wire::AppendAuthenticationSasl({kOauthBearerMechanism}, &client_->out());
  client_->Flush();
  const std::optional<crypto::Secret> body = co_await ReadPasswordBody();
  if (!body.has_value()) co_return std::nullopt;
  const auto initial = wire::ParseSaslInitial(body->Expose());
  if (!initial.has_value() || initial->mechanism != kOauthBearerMechanism || !initial->data.has_value()) {
    Refuse(Fields("08P01", "malformed SASL message", "The mechanism is OAUTHBEARER, with an initial response."),
           "protocol");
    co_return std::nullopt;
  }
  absl::StatusOr<crypto::Secret> token = ReadBearerToken(*initial->data);
  if (!token.ok()) {
    Refuse(Fields("08P01", StdView(token.status().message())), "protocol");
    co_return std::nullopt;
  }
  if (!token->empty()) co_return *std::move(token);
  const bool told = co_await ChallengeBearer();
  if (told) {
    Refuse(Fields("28000", "no token was sent", {},
                  "Get a token with: postern token request --target T --do … --reason …"),
           "no token");
  }
  co_return std::nullopt;
}

Task<bool> Session::ChallengeBearer() {
  wire::AppendAuthenticationSaslContinue(InvalidTokenChallenge(services_.auth.discovery), &client_->out());
  client_->Flush();
  const std::optional<crypto::Secret> body = co_await ReadPasswordBody();
  if (!body.has_value()) co_return false;
  if (body->Expose() == kErrorAcknowledged) co_return true;
  Refuse(Fields("08P01", "malformed SASL message", "After an error there is only its acknowledgement."), "protocol");
  co_return false;
}

}  // namespace postern::session
