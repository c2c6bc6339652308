// X.509 (RFC 5280) as Postern uses it: reading and checking certificates and certificate requests, and the
// installation's own small CA, which certifies the control plane's server and each sidecar. P-256 with SHA-256
// throughout.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/crypto/ec_key.h"
#include "common/crypto/secret.h"

struct x509_st;

namespace postern::crypto {

inline constexpr absl::Duration kRootLifetime = absl::Hours(24 * 365 * 10);
// Certificates begin this much before they are issued, for peers whose clocks are behind.
inline constexpr absl::Duration kCertificateBackdate = absl::Minutes(5);

// What a certificate says. Nothing here is verified.
struct CertificateInfo {
  std::string common_name;
  std::string serial_hex;
  std::vector<std::string> dns_names;
  std::vector<std::string> uris;
  absl::Time not_before;
  absl::Time not_after;
  std::string spki_sha256;  // 32 raw bytes: the pin
};

// Reads the first certificate of `pem`. INVALID_ARGUMENT/CERTIFICATE_MALFORMED.
absl::StatusOr<CertificateInfo> ReadCertificate(std::string_view pem);

// "sha256:" and base64url of the SHA-256 of the certificate's SubjectPublicKeyInfo: what people and join lines carry.
absl::StatusOr<std::string> CertificatePin(std::string_view pem);

enum class CertificatePurpose { kServer, kClient };

// Verifies the first certificate of `chain_pem` (the others help) against the roots of `roots_pem` at `time`.
// UNAUTHENTICATED/CERTIFICATE_REJECTED with OpenSSL's reason.
absl::Status VerifyCertificate(std::string_view chain_pem, std::string_view roots_pem, CertificatePurpose purpose,
                               absl::Time time);

// The public key of a PKCS#10 request whose self-signature holds. Subject and extensions are ignored: the issuer
// decides them. INVALID_ARGUMENT/CSR_MALFORMED, also if the key is not P-256.
absl::StatusOr<EcPublicKey> VerifyCsr(std::string_view csr_der);

// A PKCS#10 request for `key`, DER, with `common_name` as its subject.
absl::StatusOr<std::string> MakeCsr(const EcPrivateKey& key, std::string_view common_name);

// The URI that a sidecar's certificate carries: postern://ORIGIN/sidecar/ID.
std::string SidecarUri(std::string_view origin, std::string_view sidecar_id);
// ID of such a URI; empty if it is not one of `origin`, or its path has another form.
std::string SidecarIdOfUri(std::string_view uri, std::string_view origin);

struct IssuedCertificate {
  std::string pem;
  std::string serial_hex;
  absl::Time not_after;
};

// The installation's CA. Immutable, cheap to copy, thread-safe.
class CertificateAuthority {
 public:
  // A new self-signed root that lives for kRootLifetime.
  static absl::StatusOr<CertificateAuthority> CreateRoot(std::string_view common_name, const Clock& clock,
                                                         Random& random);
  // INVALID_ARGUMENT/CERTIFICATE_MALFORMED, KEY_MALFORMED, or CA_MISMATCH if the key is not the certificate's.
  static absl::StatusOr<CertificateAuthority> Load(std::string_view certificate_pem, const Secret& key_pem);

  const std::string& certificate_pem() const { return certificate_pem_; }
  Secret ExportKeyPem() const { return key_.ToPem(); }

  struct ServerRequest {
    std::string common_name;
    std::vector<std::string> dns_names;
    std::vector<std::string> ip_addresses;
    absl::Duration lifetime;
  };
  // A server certificate. INVALID_ARGUMENT/CERTIFICATE_NAME if a name is not a DNS name or an address, or there is
  // none.
  absl::StatusOr<IssuedCertificate> IssueServer(const EcPublicKey& key, const ServerRequest& request,
                                                const Clock& clock, Random& random) const;

  // A client certificate whose only subject alternative name is `uri`.
  absl::StatusOr<IssuedCertificate> IssueClient(const EcPublicKey& key, std::string_view common_name,
                                                std::string_view uri, absl::Duration lifetime, const Clock& clock,
                                                Random& random) const;

 private:
  CertificateAuthority(std::shared_ptr<x509_st> certificate, std::string certificate_pem, EcPrivateKey key);

  std::shared_ptr<x509_st> certificate_;
  std::string certificate_pem_;
  EcPrivateKey key_;
};

}  // namespace postern::crypto
