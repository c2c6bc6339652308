#include "sidecar/session/upstream.h"

#include "common/base/errors.h"
#include "common/crypto/base64.h"
#include "fmt/format.h"
#include "sidecar/reactor/connect.h"
#include "sidecar/reactor/deadline.h"
#include "sidecar/session/scram.h"
#include "sidecar/wire/backend.h"
#include "sidecar/wire/build.h"
#include "sidecar/wire/framing.h"

namespace postern::session {
namespace {

using reactor::ReadResult;
using reactor::Stream;
using reactor::Task;

// Log-in messages are small; a server that sends more is not one.
constexpr size_t kMaxLoginBytes = 1 << 20;

absl::Status ProtocolError(std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "UPSTREAM_PROTOCOL",
               fmt::format("unexpected answer of the server: {}", what));
}

// What was heard last, if that is the same.
SharedParameters ShareParameters(Parameters parameters) {
  thread_local SharedParameters last;
  if (last == nullptr || *last != parameters) last = std::make_shared<const Parameters>(std::move(parameters));
  return last;
}

// One login over one stream.
class Login {
 public:
  Login(Stream* stream, UpstreamRequest* request, Random& random, bool verified_tls)
      : stream_(stream), request_(request), random_(random), verified_tls_(verified_tls) {}

  Task<absl::Status> Run(UpstreamConnection* connection) {
    std::vector<std::pair<std::string, std::string>> parameters = request_->parameters;
    parameters.insert(parameters.begin(), {{"user", request_->user}, {"database", request_->database}});
    wire::AppendStartup(parameters, &stream_->out());
    stream_->Flush();
    bool ready = false;
    while (!ready) {
      wire::Message message;
      absl::Status read = co_await Next(&message);
      if (!read.ok()) co_return read;
      absl::Status handled;
      if (message.type == 'R') {
        handled = co_await Authenticate(message.body);
      } else {
        handled = Handle(message, connection, &ready);
      }
      if (!handled.ok()) co_return handled;
      in_.erase(0, consumed_);
      consumed_ = 0;
    }
    connection->rest.assign(in_);  // without the memory that the log-in took
    co_return absl::OkStatus();
  }

 private:
  // Reads one whole message; its views live until the next call.
  Task<absl::Status> Next(wire::Message* message) {
    for (;;) {
      const wire::Read read = wire::ReadBackend(std::string_view(in_).substr(consumed_), message);
      if (read == wire::Read::kMessage) {
        consumed_ += message->whole.size();
        co_return absl::OkStatus();
      }
      if (read == wire::Read::kMalformed || in_.size() > kMaxLoginBytes) co_return ProtocolError("malformed message");
      co_await stream_->Readable();
      if (stream_->Read(&in_) == ReadResult::kClosed) {
        co_return Error(absl::StatusCode::kUnavailable, "UPSTREAM_PROTOCOL", "the server closed the connection");
      }
    }
  }

  absl::Status Handle(const wire::Message& message, UpstreamConnection* connection, bool* ready) {
    switch (message.type) {
      case 'E':
        return Refused(message.body);
      case 'N':
        connection->notices.emplace_back(message.whole);
        return absl::OkStatus();
      case 'S':
        if (const auto parameter = wire::ParseParameterStatus(message.body)) {
          parameters_.emplace_back(parameter->first, parameter->second);
          return absl::OkStatus();
        }
        return ProtocolError("malformed ParameterStatus");
      case 'K':
        if (const auto key = wire::ParseKeyData(message.body)) {
          connection->process_id = key->process_id;
          connection->secret_key = std::string(key->secret_key);
          return absl::OkStatus();
        }
        return ProtocolError("malformed BackendKeyData");
      case 'Z':
        if (!authenticated_ || wire::ParseReady(message.body) != 'I') return ProtocolError("ReadyForQuery out of turn");
        connection->parameters = ShareParameters(std::move(parameters_));
        *ready = true;
        return absl::OkStatus();
      default:
        return ProtocolError(
            fmt::format("message type {:#04x} during log-in", static_cast<unsigned char>(message.type)));
    }
  }

  absl::Status Refused(std::string_view body) const {
    const auto error = wire::ParseError(body);
    if (!error) return ProtocolError("malformed ErrorResponse");
    return Error(absl::StatusCode::kFailedPrecondition, "UPSTREAM_REFUSED",
                 fmt::format("the server refused the session: {}", error->message), "",
                 {{"sqlstate", std::string(error->sqlstate)}, {"message", std::string(error->message)}});
  }

  Task<absl::Status> Authenticate(std::string_view body) {
    const auto auth = wire::ParseAuthentication(body);
    if (!auth || authenticated_) co_return ProtocolError("malformed or repeated authentication");
    if (auth->code == 10) co_return co_await Scram(std::string(auth->data));
    if (auth->code == 0) {
      // A server that asks for nothing where we hold a password may be an impostor; only a verified or local one may.
      if (!scram_done_ && !verified_tls_ && !IsLocal()) {
        co_return Error(absl::StatusCode::kUnauthenticated, "UPSTREAM_AUTH",
                        "the server asked for no password over a connection that proves nothing about it",
                        "Use tls_mode verify-full, or scram-sha-256 in pg_hba.conf.");
      }
      authenticated_ = true;
      co_return absl::OkStatus();
    }
    if (auth->code != 3) {
      co_return Error(absl::StatusCode::kUnauthenticated, "UPSTREAM_AUTH",
                      fmt::format("the server asks for authentication method {}, which is not supported", auth->code),
                      "Use scram-sha-256 in pg_hba.conf.");
    }
    if (!verified_tls_) {
      co_return Error(absl::StatusCode::kUnauthenticated, "UPSTREAM_AUTH",
                      "the server asks for the password in clear over a connection that is not verified TLS",
                      "Use scram-sha-256 in pg_hba.conf.");
    }
    wire::AppendPassword(request_->password.Expose(), &stream_->out());
    stream_->Flush();
    co_return absl::OkStatus();
  }

  bool IsLocal() const {
    const std::string& host = request_->target.host();
    return host.starts_with('/') || host == "localhost" || host == "127.0.0.1" || host == "::1";
  }

  Task<absl::Status> Scram(std::string offered) {
    const auto mechanisms = wire::ParseMechanisms(offered);
    if (!mechanisms) co_return ProtocolError("malformed list of mechanisms");
    bool plain = false, plus = false;
    for (const std::string_view name : *mechanisms) {
      plain = plain || name == kScramSha256;
      plus = plus || name == kScramSha256Plus;
    }
    const std::string end_point = stream_->ssl() == nullptr ? "" : ServerEndPoint(stream_->ssl());
    const bool bind = plus && !end_point.empty();
    if (!bind && !plain) co_return ProtocolError("no SCRAM mechanism that we know");

    ScramClient scram(request_->password, crypto::Base64Encode(random_.Bytes(18)), bind ? end_point : "",
                      !plus && !end_point.empty());
    wire::AppendSaslInitial(bind ? kScramSha256Plus : kScramSha256, scram.ClientFirst(), &stream_->out());
    stream_->Flush();
    std::string data;
    absl::Status next = co_await Sasl(11, &data);
    if (!next.ok()) co_return next;
    absl::StatusOr<std::string> client_final = scram.ClientFinal(data);
    if (!client_final.ok()) co_return client_final.status();
    wire::AppendSaslResponse(*client_final, &stream_->out());
    stream_->Flush();
    next = co_await Sasl(12, &data);
    if (!next.ok()) co_return next;
    scram_done_ = true;
    co_return scram.Finish(data);
  }

  Task<absl::Status> Sasl(int32_t code, std::string* data) {
    wire::Message message;
    absl::Status read = co_await Next(&message);
    if (!read.ok()) co_return read;
    if (message.type == 'E') co_return Refused(message.body);
    const auto auth = wire::ParseAuthentication(message.body);
    if (message.type != 'R' || !auth || auth->code != code) co_return ProtocolError("SASL out of turn");
    *data = std::string(auth->data);
    co_return absl::OkStatus();
  }

  Stream* stream_;
  UpstreamRequest* request_;
  Random& random_;
  const bool verified_tls_;
  std::string in_;
  size_t consumed_ = 0;
  Parameters parameters_;
  bool authenticated_ = false;
  bool scram_done_ = false;
};

// Asks for TLS and does the handshake. OK and plaintext for kDisable and for unix sockets, as libpq does.
Task<absl::Status> StartTls(Stream* stream, UpstreamTls& tls, const v1::Target& target, TlsMode mode) {
  if (mode == TlsMode::kDisable || target.host().starts_with('/')) co_return absl::OkStatus();
  wire::AppendSslRequest(&stream->out());
  stream->Flush();
  std::string answer;
  do {
    co_await stream->Readable();
    // One byte and no more: what follows must be TLS.
    if (stream->Read(&answer, 1) == ReadResult::kClosed) co_return ProtocolError("closed after SSLRequest");
  } while (answer.empty());
  if (answer != "S") {
    co_return Error(absl::StatusCode::kUnavailable, "TLS_HANDSHAKE", "the server does not offer TLS",
                    "Turn on ssl in postgresql.conf, or set the target's tls_mode.");
  }
  char extra = 0;
  if (stream->Peek(&extra, 1) != 0) co_return ProtocolError("unencrypted bytes after the answer to SSLRequest");
  absl::StatusOr<crypto::SslPtr> ssl = tls.NewSsl(mode, target.tls_ca_pem(), target.host());
  if (!ssl.ok()) co_return ssl.status();
  co_return co_await stream->ConnectTls(*std::move(ssl));
}

}  // namespace

Task<absl::StatusOr<UpstreamConnection>> OpenUpstream(reactor::EventLoop& loop, UpstreamTls& tls,
                                                      UpstreamRequest request, Random& random) {
  const absl::StatusOr<TlsMode> mode = ParseTlsMode(request.target.tls_mode());
  if (!mode.ok()) co_return mode.status();
  absl::StatusOr<std::unique_ptr<Stream>> stream =
      co_await reactor::Connect(loop, request.target.host(), request.target.port(), request.timeout);
  if (!stream.ok()) co_return stream.status();
  UpstreamConnection connection;
  connection.stream = *std::move(stream);
  connection.user = request.user;
  connection.opened = loop.clock().Monotonic();
  absl::Status done;
  {
    const reactor::Deadline deadline(loop, request.timeout, connection.stream.get());
    done = co_await StartTls(connection.stream.get(), tls, request.target, *mode);
    if (done.ok()) {
      const bool verified =
          connection.stream->ssl() != nullptr && (*mode == TlsMode::kVerifyCa || *mode == TlsMode::kVerifyFull);
      Login login(connection.stream.get(), &request, random, verified);
      done = co_await login.Run(&connection);
    }
    if (deadline.passed()) {
      done = Error(absl::StatusCode::kUnavailable, "UPSTREAM_TIMEOUT", "the server did not answer in time");
    }
  }
  if (!done.ok()) co_return done;
  co_return connection;
}

Task<void> CancelUpstream(reactor::EventLoop& loop, UpstreamTls& tls, v1::Target target, uint32_t process_id,
                          std::string secret_key) {
  constexpr absl::Duration kTimeout = absl::Seconds(5);
  if (secret_key.empty()) co_return;
  const absl::StatusOr<TlsMode> mode = ParseTlsMode(target.tls_mode());
  if (!mode.ok()) co_return;
  absl::StatusOr<std::unique_ptr<Stream>> connected =
      co_await reactor::Connect(loop, target.host(), target.port(), kTimeout);
  if (!connected.ok()) co_return;
  const std::unique_ptr<Stream> stream = *std::move(connected);
  const reactor::Deadline deadline(loop, kTimeout, stream.get());
  const absl::Status secured = co_await StartTls(stream.get(), tls, target, *mode);
  if (!secured.ok()) co_return;
  wire::AppendCancelRequest(process_id, secret_key, &stream->out());
  stream->Flush();
  std::string in;
  do {
    co_await stream->Readable();
  } while (stream->Read(&in) != ReadResult::kClosed);
}

}  // namespace postern::session
