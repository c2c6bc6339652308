#include "sidecar/uplink/pinned_ca.h"

#include <string_view>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <sys/socket.h>
#include <sys/time.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/certificate.h"
#include "common/crypto/openssl_ptr.h"
#include "common/crypto/openssl_util.h"

namespace postern::sidecar {
namespace {

constexpr unsigned char kAlpnH2[] = {2, 'h', '2'};
constexpr int kConnectNapMilliseconds = 50;

absl::Status Unreachable(const std::string& address, std::string_view what) {
  return Error(absl::StatusCode::kUnavailable, "CONTROL_PLANE_UNREACHABLE",
               fmt::format("cannot {} the control plane at {}", what, address),
               "check that it runs and that the address in the join line is reachable from here");
}

// The host of host:port without brackets.
std::string HostOf(const std::string& address) {
  std::string host = address.substr(0, address.rfind(':'));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  return host;
}

absl::StatusOr<crypto::SslPtr> Handshake(const std::string& address, SSL_CTX* context, absl::Duration timeout) {
  crypto::BioPtr connection(BIO_new_connect(address.c_str()));
  if (connection == nullptr || BIO_set_nbio(connection.get(), 1) != 1) return crypto::OpenSslError("BIO_new_connect");
  const time_t deadline = absl::ToTimeT(absl::Now() + timeout);
  while (BIO_do_connect(connection.get()) != 1) {
    if (!BIO_should_retry(connection.get()) || BIO_wait(connection.get(), deadline, kConnectNapMilliseconds) != 1) {
      ERR_clear_error();
      return Unreachable(address, "connect to");
    }
  }
  int fd = -1;
  BIO_get_fd(connection.get(), &fd);
  const timeval limit = absl::ToTimeval(timeout);
  if (!BIO_socket_nbio(fd, 0) || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit)) != 0 ||
      setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit)) != 0) {
    return Unreachable(address, "set up the connection to");
  }
  crypto::SslPtr ssl(SSL_new(context));
  if (ssl == nullptr) return crypto::OpenSslError("SSL_new");
  BIO* bio = connection.release();
  SSL_set_bio(ssl.get(), bio, bio);  // owns it from here on
  SSL_set_tlsext_host_name(ssl.get(), HostOf(address).c_str());
  SSL_set_alpn_protos(ssl.get(), kAlpnH2, sizeof(kAlpnH2));
  if (SSL_connect(ssl.get()) != 1) {
    ERR_clear_error();
    return Unreachable(address, "speak TLS with");
  }
  return ssl;
}

}  // namespace

absl::StatusOr<std::string> FetchPinnedCa(const std::string& address, const std::string& pin, absl::Duration timeout) {
  crypto::SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr || SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION) != 1) {
    return crypto::OpenSslError("SSL_CTX_new");
  }
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_NONE, nullptr);
  POSTERN_ASSIGN_OR_RETURN(crypto::SslPtr ssl, Handshake(address, context.get(), timeout));
  STACK_OF(X509)* chain = SSL_get_peer_cert_chain(ssl.get());
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    crypto::BioPtr out = crypto::WriteBio();
    if (out == nullptr || PEM_write_bio_X509(out.get(), sk_X509_value(chain, i)) != 1) {
      return crypto::OpenSslError("PEM_write_bio_X509");
    }
    const std::string pem = crypto::BioContents(out.get());
    POSTERN_ASSIGN_OR_RETURN(std::string found, crypto::CertificatePin(pem));
    if (found == pin) return pem;
  }
  return Error(absl::StatusCode::kUnauthenticated, "CA_PIN_MISMATCH",
               fmt::format("the server at {} is not certified by the CA that the join line names", address),
               "check the address; if it is right, somebody may be in the middle");
}

}  // namespace postern::sidecar
