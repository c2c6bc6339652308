#include "common/crypto/certificate.h"

#include <ctime>
#include <utility>

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/base64.h"
#include "common/crypto/hash.h"
#include "common/crypto/openssl_util.h"

namespace postern::crypto {
namespace {

absl::Status Malformed(std::string_view what) {
  ERR_clear_error();
  return Error(absl::StatusCode::kInvalidArgument, "CERTIFICATE_MALFORMED", what);
}

absl::Status MalformedCsr(std::string_view what) {
  ERR_clear_error();
  return Error(absl::StatusCode::kInvalidArgument, "CSR_MALFORMED", what);
}

// All certificates of a PEM text, in order.
absl::StatusOr<std::vector<X509Ptr>> ReadAll(std::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  std::vector<X509Ptr> certificates;
  while (X509Ptr certificate{PEM_read_bio_X509(bio.get(), nullptr, NoPassword, nullptr)}) {
    certificates.push_back(std::move(certificate));
  }
  // The loop ends at the text's end, which leaves PEM_R_NO_START_LINE, or at something broken.
  const bool at_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  ERR_clear_error();
  if (certificates.empty() || !at_end) return Malformed("the text is not a certificate in PEM");
  return certificates;
}

absl::Time ToTime(const ASN1_TIME* asn1) {
  std::tm tm{};
  if (ASN1_TIME_to_tm(asn1, &tm) != 1) return absl::InfinitePast();
  return absl::FromUnixSeconds(timegm(&tm));
}

std::string SpkiSha256(X509* certificate) {
  unsigned char* der = nullptr;
  const int size = i2d_X509_PUBKEY(X509_get_X509_PUBKEY(certificate), &der);
  if (size <= 0) return {};
  std::string digest = Sha256({reinterpret_cast<const char*>(der), static_cast<size_t>(size)});
  OPENSSL_free(der);
  return digest;
}

std::string SerialHex(X509* certificate) {
  const BignumPtr number(ASN1_INTEGER_to_BN(X509_get0_serialNumber(certificate), nullptr));
  std::string bytes(static_cast<size_t>(BN_num_bytes(number.get())), '\0');
  BN_bn2bin(number.get(), reinterpret_cast<unsigned char*>(bytes.data()));
  return HexEncode(bytes);
}

std::string CommonName(X509* certificate) {
  X509_NAME* name = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(name, NID_commonName, -1);
  if (index < 0) return {};
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(X509_NAME_get_entry(name, index)));
  if (size < 0) return {};
  std::string text(reinterpret_cast<const char*>(utf8), static_cast<size_t>(size));
  OPENSSL_free(utf8);
  return text;
}

std::string_view Text(const ASN1_IA5STRING* text) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(text)), static_cast<size_t>(ASN1_STRING_length(text))};
}

void ReadAlternativeNames(X509* certificate, CertificateInfo& info) {
  const GeneralNamesPtr names(
      static_cast<GENERAL_NAMES*>(X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)));
  if (names == nullptr) return;
  for (int i = 0; i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) info.dns_names.emplace_back(Text(name->d.dNSName));
    if (name->type == GEN_URI) info.uris.emplace_back(Text(name->d.uniformResourceIdentifier));
  }
}

bool SetTime(ASN1_TIME* out, absl::Time time) { return ASN1_TIME_set(out, absl::ToTimeT(time)) != nullptr; }

bool SetName(X509_NAME* name, std::string_view common_name) {
  return X509_NAME_add_entry_by_NID(name, NID_commonName, MBSTRING_UTF8,
                                    reinterpret_cast<const unsigned char*>(common_name.data()),
                                    static_cast<int>(common_name.size()), -1, 0) == 1;
}

bool AddExtension(X509* certificate, X509* issuer, int nid, const std::string& value) {
  X509V3_CTX context;
  X509V3_set_ctx(&context, issuer, certificate, nullptr, nullptr, 0);
  const X509ExtensionPtr extension(X509V3_EXT_nconf_nid(nullptr, &context, nid, value.c_str()));
  return extension != nullptr && X509_add_ext(certificate, extension.get(), -1) == 1;
}

// Names go in as structures, never through OpenSSL's configuration syntax, where a comma in one would begin another.
bool AddAlternativeNames(X509* certificate, const std::vector<std::pair<int, std::string>>& entries) {
  const GeneralNamesPtr names(GENERAL_NAMES_new());
  for (const auto& [type, value] : entries) {
    GENERAL_NAME* name = GENERAL_NAME_new();
    if (type == GEN_IPADD) {
      GENERAL_NAME_set0_value(name, type, a2i_IPADDRESS(value.c_str()));
    } else {
      ASN1_IA5STRING* text = ASN1_IA5STRING_new();
      ASN1_STRING_set(text, value.data(), static_cast<int>(value.size()));
      GENERAL_NAME_set0_value(name, type, text);
    }
    sk_GENERAL_NAME_push(names.get(), name);
  }
  return X509_add1_ext_i2d(certificate, NID_subject_alt_name, names.get(), 0, X509V3_ADD_DEFAULT) == 1;
}

struct Extension {
  int nid;
  std::string value;
};

// An unsigned certificate with a random serial number of 127 bits (RFC 5280 section 4.1.2.2 wants it positive).
absl::StatusOr<X509Ptr> NewCertificate(EVP_PKEY* key, std::string_view common_name, absl::Duration lifetime,
                                       const Clock& clock, Random& random) {
  X509Ptr certificate(X509_new());
  std::string serial = random.Bytes(16);
  serial[0] = static_cast<char>((serial[0] & 0x3f) | 0x40);
  const BignumPtr number(BN_bin2bn(reinterpret_cast<const unsigned char*>(serial.data()), 16, nullptr));
  const absl::Time now = clock.Now();
  if (X509_set_version(certificate.get(), X509_VERSION_3) != 1 ||
      BN_to_ASN1_INTEGER(number.get(), X509_get_serialNumber(certificate.get())) == nullptr ||
      !SetTime(X509_getm_notBefore(certificate.get()), now - kCertificateBackdate) ||
      !SetTime(X509_getm_notAfter(certificate.get()), now + lifetime) ||
      !SetName(X509_get_subject_name(certificate.get()), common_name) || X509_set_pubkey(certificate.get(), key) != 1) {
    return OpenSslError("cannot make a certificate");
  }
  return certificate;
}

// Adds extensions and the signature of `issuer` (the certificate itself for a root).
absl::Status Finish(X509* certificate, X509* issuer, EVP_PKEY* issuer_key, const std::vector<Extension>& extensions) {
  bool ok = X509_set_issuer_name(certificate, X509_get_subject_name(issuer)) == 1;
  for (const Extension& extension : extensions) {
    ok = ok && AddExtension(certificate, issuer, extension.nid, extension.value);
  }
  if (!ok || X509_sign(certificate, issuer_key, EVP_sha256()) == 0) return OpenSslError("cannot sign a certificate");
  return absl::OkStatus();
}

IssuedCertificate Issued(X509* certificate) {
  const BioPtr bio = WriteBio();
  PEM_write_bio_X509(bio.get(), certificate);
  return {BioContents(bio.get()), SerialHex(certificate), ToTime(X509_get0_notAfter(certificate))};
}

bool IsDnsName(std::string_view name) {
  if (name.empty() || name.size() > 253 || name.starts_with('.') || name.ends_with('.')) return false;
  return name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") ==
         std::string_view::npos;
}

bool IsAddress(const std::string& text) {
  const OpenSslPtr<ASN1_OCTET_STRING, ASN1_OCTET_STRING_free> address(a2i_IPADDRESS(text.c_str()));
  ERR_clear_error();
  return address != nullptr;
}

std::vector<Extension> LeafExtensions(std::string usage) {
  return {{NID_basic_constraints, "critical,CA:FALSE"},
          {NID_key_usage, "critical,digitalSignature"},
          {NID_ext_key_usage, std::move(usage)},
          {NID_subject_key_identifier, "hash"},
          {NID_authority_key_identifier, "keyid:always"}};
}

}  // namespace

absl::StatusOr<CertificateInfo> ReadCertificate(std::string_view pem) {
  POSTERN_ASSIGN_OR_RETURN(const std::vector<X509Ptr> certificates, ReadAll(pem));
  X509* certificate = certificates.front().get();
  CertificateInfo info;
  info.common_name = CommonName(certificate);
  info.serial_hex = SerialHex(certificate);
  info.not_before = ToTime(X509_get0_notBefore(certificate));
  info.not_after = ToTime(X509_get0_notAfter(certificate));
  info.spki_sha256 = SpkiSha256(certificate);
  ReadAlternativeNames(certificate, info);
  return info;
}

absl::StatusOr<std::string> CertificatePin(std::string_view pem) {
  POSTERN_ASSIGN_OR_RETURN(const CertificateInfo info, ReadCertificate(pem));
  return "sha256:" + Base64UrlEncode(info.spki_sha256);
}

absl::Status VerifyCertificate(std::string_view chain_pem, std::string_view roots_pem, CertificatePurpose purpose,
                               absl::Time time) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<X509Ptr> chain, ReadAll(chain_pem));
  POSTERN_ASSIGN_OR_RETURN(const std::vector<X509Ptr> roots, ReadAll(roots_pem));
  const X509StorePtr store(X509_STORE_new());
  for (const X509Ptr& root : roots) X509_STORE_add_cert(store.get(), root.get());
  const X509StackPtr others(sk_X509_new_null());
  for (size_t i = 1; i < chain.size(); ++i) sk_X509_push(others.get(), chain[i].release());

  const X509StoreCtxPtr context(X509_STORE_CTX_new());
  X509_STORE_CTX_init(context.get(), store.get(), chain.front().get(), others.get());
  X509_VERIFY_PARAM* parameters = X509_STORE_CTX_get0_param(context.get());
  X509_VERIFY_PARAM_set_time(parameters, absl::ToTimeT(time));
  X509_VERIFY_PARAM_set_flags(parameters, X509_V_FLAG_X509_STRICT);
  X509_VERIFY_PARAM_set_purpose(
      parameters, purpose == CertificatePurpose::kServer ? X509_PURPOSE_SSL_SERVER : X509_PURPOSE_SSL_CLIENT);
  if (X509_verify_cert(context.get()) == 1) return absl::OkStatus();
  const std::string reason = X509_verify_cert_error_string(X509_STORE_CTX_get_error(context.get()));
  ERR_clear_error();
  return Error(absl::StatusCode::kUnauthenticated, "CERTIFICATE_REJECTED",
               fmt::format("the certificate is not accepted: {}", reason));
}

absl::StatusOr<EcPublicKey> VerifyCsr(std::string_view csr_der) {
  const auto* cursor = reinterpret_cast<const unsigned char*>(csr_der.data());
  const auto* const end = cursor + csr_der.size();
  const X509ReqPtr request(d2i_X509_REQ(nullptr, &cursor, static_cast<long>(csr_der.size())));
  if (request == nullptr || cursor != end) return MalformedCsr("the bytes are not a certificate request (PKCS#10)");
  EVP_PKEY* key = X509_REQ_get0_pubkey(request.get());
  if (key == nullptr) return MalformedCsr("the certificate request's key is not readable");
  absl::StatusOr<EcPublicKey> public_key = EcPublicKey::FromEvp(key);
  if (!public_key.ok()) return MalformedCsr("the certificate request's key is not a P-256 key");
  if (X509_REQ_verify(request.get(), key) != 1)
    return MalformedCsr("the certificate request's signature does not match");
  return public_key;
}

absl::StatusOr<std::string> MakeCsr(const EcPrivateKey& key, std::string_view common_name) {
  const X509ReqPtr request(X509_REQ_new());
  if (!SetName(X509_REQ_get_subject_name(request.get()), common_name) ||
      X509_REQ_set_pubkey(request.get(), key.evp()) != 1 ||
      X509_REQ_sign(request.get(), key.evp(), EVP_sha256()) == 0) {
    return OpenSslError("cannot make a certificate request");
  }
  const BioPtr bio = WriteBio();
  i2d_X509_REQ_bio(bio.get(), request.get());
  return BioContents(bio.get());
}

std::string SidecarUri(std::string_view origin, std::string_view sidecar_id) {
  return fmt::format("postern://{}/sidecar/{}", origin, sidecar_id);
}

std::string SidecarIdOfUri(std::string_view uri, std::string_view origin) {
  const std::string prefix = SidecarUri(origin, "");
  if (!uri.starts_with(prefix)) return {};
  const std::string_view id = uri.substr(prefix.size());
  if (id.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_") != std::string_view::npos) return {};
  return std::string(id);
}

CertificateAuthority::CertificateAuthority(std::shared_ptr<X509> certificate, std::string certificate_pem,
                                           EcPrivateKey key)
    : certificate_(std::move(certificate)), certificate_pem_(std::move(certificate_pem)), key_(std::move(key)) {}

absl::StatusOr<CertificateAuthority> CertificateAuthority::CreateRoot(std::string_view common_name, const Clock& clock,
                                                                      Random& random) {
  POSTERN_ASSIGN_OR_RETURN(EcPrivateKey key, EcPrivateKey::Generate());
  POSTERN_ASSIGN_OR_RETURN(X509Ptr certificate, NewCertificate(key.evp(), common_name, kRootLifetime, clock, random));
  POSTERN_RETURN_IF_ERROR(Finish(certificate.get(), certificate.get(), key.evp(),
                                 {{NID_basic_constraints, "critical,CA:TRUE,pathlen:0"},
                                  {NID_key_usage, "critical,keyCertSign,cRLSign"},
                                  {NID_subject_key_identifier, "hash"}}));
  std::string pem = Issued(certificate.get()).pem;
  return CertificateAuthority(std::shared_ptr<X509>(certificate.release(), X509_free), std::move(pem), std::move(key));
}

absl::StatusOr<CertificateAuthority> CertificateAuthority::Load(std::string_view certificate_pem,
                                                                const Secret& key_pem) {
  POSTERN_ASSIGN_OR_RETURN(std::vector<X509Ptr> certificates, ReadAll(certificate_pem));
  POSTERN_ASSIGN_OR_RETURN(EcPrivateKey key, EcPrivateKey::FromPem(key_pem.Expose()));
  X509Ptr& certificate = certificates.front();
  if (X509_check_private_key(certificate.get(), key.evp()) != 1) {
    ERR_clear_error();
    return Error(absl::StatusCode::kInvalidArgument, "CA_MISMATCH", "the CA's key is not that of its certificate");
  }
  std::string pem = Issued(certificate.get()).pem;
  return CertificateAuthority(std::shared_ptr<X509>(certificate.release(), X509_free), std::move(pem), std::move(key));
}

absl::StatusOr<IssuedCertificate> CertificateAuthority::IssueServer(const EcPublicKey& key,
                                                                    const ServerRequest& request, const Clock& clock,
                                                                    Random& random) const {
  const auto bad_name = [](std::string_view what) {
    return Error(absl::StatusCode::kInvalidArgument, "CERTIFICATE_NAME", what);
  };
  std::vector<std::pair<int, std::string>> names;
  for (const std::string& name : request.dns_names) {
    if (!IsDnsName(name)) return bad_name(fmt::format("'{}' is not a DNS name", name));
    names.emplace_back(GEN_DNS, name);
  }
  for (const std::string& address : request.ip_addresses) {
    if (!IsAddress(address)) return bad_name(fmt::format("'{}' is not an IP address", address));
    names.emplace_back(GEN_IPADD, address);
  }
  if (names.empty()) return bad_name("a server certificate needs a DNS name or an IP address");
  POSTERN_ASSIGN_OR_RETURN(const X509Ptr certificate,
                           NewCertificate(key.evp(), request.common_name, request.lifetime, clock, random));
  if (!AddAlternativeNames(certificate.get(), names)) return OpenSslError("cannot name a certificate");
  POSTERN_RETURN_IF_ERROR(Finish(certificate.get(), certificate_.get(), key_.evp(), LeafExtensions("serverAuth")));
  return Issued(certificate.get());
}

absl::StatusOr<IssuedCertificate> CertificateAuthority::IssueClient(const EcPublicKey& key,
                                                                    std::string_view common_name, std::string_view uri,
                                                                    absl::Duration lifetime, const Clock& clock,
                                                                    Random& random) const {
  POSTERN_ASSIGN_OR_RETURN(const X509Ptr certificate, NewCertificate(key.evp(), common_name, lifetime, clock, random));
  if (!AddAlternativeNames(certificate.get(), {{GEN_URI, std::string(uri)}})) {
    return OpenSslError("cannot name a certificate");
  }
  POSTERN_RETURN_IF_ERROR(Finish(certificate.get(), certificate_.get(), key_.evp(), LeafExtensions("clientAuth")));
  return Issued(certificate.get());
}

}  // namespace postern::crypto
