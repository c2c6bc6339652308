#include "sidecar/session/tls.h"

#include <utility>

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/openssl_util.h"
#include "fmt/format.h"

namespace postern::session {
namespace {

constexpr unsigned char kAlpn[] = "\x0apostgresql";
constexpr std::string_view kAlpnName = "postgresql";
// As many contexts as there may be targets with CAs of their own; beyond that old ones are dropped all together.
constexpr size_t kMaxContexts = 256;

int SelectAlpn(SSL*, const unsigned char** out, unsigned char* out_size, const unsigned char* in, unsigned in_size,
               void*) {
  for (unsigned i = 0; i < in_size; i += 1u + in[i]) {
    const std::string_view name(reinterpret_cast<const char*>(in) + i + 1, in[i]);
    if (name == kAlpnName) {
      *out = in + i + 1;
      *out_size = in[i];
      return SSL_TLSEXT_ERR_OK;
    }
  }
  return SSL_TLSEXT_ERR_ALERT_FATAL;
}

absl::Status CertificateError(std::string_view file, std::string_view what) {
  const unsigned long code = ERR_peek_last_error();
  const char* reason = code == 0 ? nullptr : ERR_reason_error_string(code);
  ERR_clear_error();
  return Error(absl::StatusCode::kInvalidArgument, "TLS_CERTIFICATE",
               fmt::format("{} {}: {}", what, file, reason == nullptr ? "cannot be used" : reason),
               "It must be PEM, readable by the sidecar, and belong together with the other file.");
}

absl::StatusOr<crypto::SslCtxPtr> ServerContext(const std::string& certificate_file, const std::string& key_file) {
  crypto::SslCtxPtr context(SSL_CTX_new(TLS_server_method()));
  if (context == nullptr) return crypto::OpenSslError("TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_TICKET | SSL_OP_CIPHER_SERVER_PREFERENCE);
  SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_OFF);
  SSL_CTX_set_alpn_select_cb(context.get(), SelectAlpn, nullptr);
  SSL_CTX_set_default_passwd_cb(context.get(), crypto::NoPassword);
  if (SSL_CTX_use_certificate_chain_file(context.get(), certificate_file.c_str()) != 1) {
    return CertificateError(certificate_file, "certificate");
  }
  if (SSL_CTX_use_PrivateKey_file(context.get(), key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
    return CertificateError(key_file, "private key");
  }
  if (SSL_CTX_check_private_key(context.get()) != 1) return CertificateError(key_file, "private key");
  return context;
}

absl::StatusOr<crypto::SslCtxPtr> ClientContext(bool verify, const std::string& ca_pem) {
  crypto::SslCtxPtr context(SSL_CTX_new(TLS_client_method()));
  if (context == nullptr) return crypto::OpenSslError("TLS context");
  SSL_CTX_set_min_proto_version(context.get(), TLS1_2_VERSION);
  SSL_CTX_set_options(context.get(), SSL_OP_NO_RENEGOTIATION);
  if (!verify) return context;
  SSL_CTX_set_verify(context.get(), SSL_VERIFY_PEER, nullptr);
  if (ca_pem.empty()) {
    if (SSL_CTX_set_default_verify_paths(context.get()) != 1) return crypto::OpenSslError("system CAs");
    return context;
  }
  const crypto::BioPtr bio = crypto::ReadBio(ca_pem);
  X509_STORE* store = SSL_CTX_get_cert_store(context.get());
  int added = 0;
  for (;;) {
    const crypto::X509Ptr certificate(PEM_read_bio_X509(bio.get(), nullptr, crypto::NoPassword, nullptr));
    if (certificate == nullptr) break;
    if (X509_STORE_add_cert(store, certificate.get()) == 1) ++added;
  }
  ERR_clear_error();
  if (added == 0) {
    return Error(absl::StatusCode::kInvalidArgument, "TLS_CA", "the target's CA is not PEM certificates");
  }
  return context;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ClientTls>> ClientTls::Load(std::string certificate_file, std::string key_file) {
  std::unique_ptr<ClientTls> tls(new ClientTls(std::move(certificate_file), std::move(key_file)));
  POSTERN_RETURN_IF_ERROR(tls->Reload());
  return tls;
}

absl::Status ClientTls::Reload() {
  POSTERN_ASSIGN_OR_RETURN(crypto::SslCtxPtr fresh, ServerContext(certificate_file_, key_file_));
  absl::MutexLock lock(&mu_);
  context_ = std::move(fresh);
  return absl::OkStatus();
}

crypto::SslPtr ClientTls::NewSsl() const {
  absl::MutexLock lock(&mu_);
  return crypto::SslPtr(SSL_new(context_.get()));
}

bool NegotiatedPostgresAlpn(const SSL* ssl) {
  const unsigned char* name = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &name, &size);
  return std::string_view(reinterpret_cast<const char*>(name), size) == kAlpnName;
}

absl::StatusOr<TlsMode> ParseTlsMode(std::string_view text) {
  if (text == "disable") return TlsMode::kDisable;
  if (text == "require") return TlsMode::kRequire;
  if (text == "verify-ca") return TlsMode::kVerifyCa;
  if (text == "verify-full" || text.empty()) return TlsMode::kVerifyFull;
  return Error(absl::StatusCode::kInvalidArgument, "TLS_MODE", fmt::format("unknown TLS mode: {}", text),
               "Use disable, require, verify-ca or verify-full.");
}

absl::StatusOr<crypto::SslPtr> UpstreamTls::NewSsl(TlsMode mode, const std::string& ca_pem, const std::string& host) {
  const bool verify = mode == TlsMode::kVerifyCa || mode == TlsMode::kVerifyFull;
  crypto::SslPtr ssl;
  {
    absl::MutexLock lock(&mu_);
    crypto::SslCtxPtr& context = contexts_[{verify, verify ? ca_pem : std::string()}];
    if (context == nullptr) {
      POSTERN_ASSIGN_OR_RETURN(context, ClientContext(verify, ca_pem));
    }
    ssl.reset(SSL_new(context.get()));
    if (contexts_.size() > kMaxContexts) contexts_.clear();
  }
  if (ssl == nullptr) return crypto::OpenSslError("TLS");
  SSL_set_alpn_protos(ssl.get(), kAlpn, sizeof(kAlpn) - 1);
  in6_addr address{};
  const bool numeric =
      inet_pton(AF_INET, host.c_str(), &address) == 1 || inet_pton(AF_INET6, host.c_str(), &address) == 1;
  if (!numeric) SSL_set_tlsext_host_name(ssl.get(), host.c_str());
  if (mode == TlsMode::kVerifyFull) {
    X509_VERIFY_PARAM* parameters = SSL_get0_param(ssl.get());
    X509_VERIFY_PARAM_set_hostflags(parameters, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    const int set = numeric ? X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str())
                            : X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size());
    if (set != 1) return crypto::OpenSslError("host name to verify");
  }
  return ssl;
}

std::string ServerEndPoint(const SSL* ssl) {
  const crypto::X509Ptr certificate(SSL_get1_peer_certificate(ssl));
  if (certificate == nullptr) return "";
  int digest = NID_undef;
  if (OBJ_find_sigid_algs(X509_get_signature_nid(certificate.get()), &digest, nullptr) != 1) return "";
  if (digest == NID_md5 || digest == NID_sha1) digest = NID_sha256;
  const EVP_MD* md = digest == NID_undef ? nullptr : EVP_get_digestbynid(digest);
  if (md == nullptr) return "";
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned size = 0;
  if (X509_digest(certificate.get(), md, bytes, &size) != 1) return "";
  return std::string(reinterpret_cast<const char*>(bytes), size);
}

}  // namespace postern::session
