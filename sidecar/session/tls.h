// TLS on both legs of the wire: towards clients with the sidecar's certificate, towards servers as the target says.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "common/crypto/openssl_ptr.h"

namespace postern::session {

// The certificate shown to clients, replaceable while serving. Thread-safe.
class ClientTls {
 public:
  // Reads both PEM files, the certificate's chain included.
  //   INVALID_ARGUMENT/TLS_CERTIFICATE: unreadable, or the key is not the certificate's.
  static absl::StatusOr<std::unique_ptr<ClientTls>> Load(std::string certificate_file, std::string key_file);
  // Reads the same files again; on an error the old certificate stays.
  absl::Status Reload();
  // A fresh server-side object for one connection.
  crypto::SslPtr NewSsl() const;

 private:
  ClientTls(std::string certificate_file, std::string key_file)
      : certificate_file_(std::move(certificate_file)), key_file_(std::move(key_file)) {}

  const std::string certificate_file_;
  const std::string key_file_;
  mutable absl::Mutex mu_;
  crypto::SslCtxPtr context_ ABSL_GUARDED_BY(mu_);
};

// True if the handshake agreed on ALPN "postgresql": what a connection that begins with TLS at once must show
// (PostgreSQL 17 documentation, 55.2.10), so that no other protocol's client can be talked into speaking to us.
bool NegotiatedPostgresAlpn(const SSL* ssl);

// How to reach a server: libpq's sslmode.
enum class TlsMode { kDisable, kRequire, kVerifyCa, kVerifyFull };
absl::StatusOr<TlsMode> ParseTlsMode(std::string_view text);

// Contexts towards servers, one per CA and mode, since reading the system's CAs costs milliseconds. Thread-safe.
class UpstreamTls {
 public:
  // A fresh client-side object that will check the certificate as `mode` says. `ca_pem` empty: the system's CAs.
  //   INVALID_ARGUMENT/TLS_CA: `ca_pem` does not parse.
  absl::StatusOr<crypto::SslPtr> NewSsl(TlsMode mode, const std::string& ca_pem, const std::string& host);

 private:
  absl::Mutex mu_;
  std::map<std::pair<bool, std::string>, crypto::SslCtxPtr> contexts_ ABSL_GUARDED_BY(mu_);
};

// tls-server-end-point of the peer's certificate (RFC 5929, section 4.1). Empty when its signature algorithm defines no
// digest.
std::string ServerEndPoint(const SSL* ssl);

}  // namespace postern::session
