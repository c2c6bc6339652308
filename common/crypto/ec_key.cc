#include "common/crypto/ec_key.h"

#include <array>

#include <fmt/format.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/pem.h>

#include "common/base/errors.h"
#include "common/base/status_macros.h"
#include "common/crypto/base64.h"
#include "common/crypto/hash.h"
#include "common/crypto/openssl_util.h"

namespace postern::crypto {
namespace {

constexpr size_t kCoordinateBytes = 32;

absl::Status Malformed(std::string_view what) {
  ERR_clear_error();
  return Error(absl::StatusCode::kInvalidArgument, "KEY_MALFORMED", what,
               "Give a P-256 key, as `openssl ecparam -name prime256v1 -genkey` makes it.");
}

absl::Status RequireP256(EVP_PKEY* key) {
  if (EVP_PKEY_is_a(key, "EC") != 1) return Malformed("the key is not an elliptic-curve key");
  std::array<char, 64> group{};
  size_t length = 0;
  if (EVP_PKEY_get_group_name(key, group.data(), group.size(), &length) != 1 ||
      std::string_view(group.data(), length) != "prime256v1") {
    return Malformed("the key is not on curve P-256");
  }
  // A curve spelled out in the key may carry another generator under P-256's name (CVE-2020-0601).
  int is_explicit = 0;
  if (EVP_PKEY_get_int_param(key, OSSL_PKEY_PARAM_EC_DECODED_FROM_EXPLICIT_PARAMS, &is_explicit) == 1 &&
      is_explicit != 0) {
    return Malformed("the key spells out its curve parameters");
  }
  return absl::OkStatus();
}

std::shared_ptr<EVP_PKEY> Share(PkeyPtr key) { return std::shared_ptr<EVP_PKEY>(key.release(), EVP_PKEY_free); }

std::string Coordinate(EVP_PKEY* key, const char* name) {
  BIGNUM* raw = nullptr;
  std::string bytes(kCoordinateBytes, '\0');
  if (EVP_PKEY_get_bn_param(key, name, &raw) != 1) return bytes;
  const BignumPtr number(raw);
  BN_bn2binpad(number.get(), reinterpret_cast<unsigned char*>(bytes.data()), static_cast<int>(bytes.size()));
  return bytes;
}

}  // namespace

absl::StatusOr<EcPublicKey> EcPublicKey::FromEvp(EVP_PKEY* key) {
  POSTERN_RETURN_IF_ERROR(RequireP256(key));
  EVP_PKEY_up_ref(key);
  return EcPublicKey(Share(PkeyPtr(key)));
}

absl::StatusOr<EcPublicKey> EcPublicKey::FromPem(std::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  const PkeyPtr key(PEM_read_bio_PUBKEY(bio.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return Malformed("the text is not a public key in PEM (BEGIN PUBLIC KEY)");
  if (!OnlyWhitespaceLeft(bio.get())) return Malformed("text follows the public key");
  return FromEvp(key.get());
}

absl::StatusOr<EcPublicKey> EcPublicKey::FromDer(std::string_view spki_der) {
  const auto* cursor = reinterpret_cast<const unsigned char*>(spki_der.data());
  const auto* const end = cursor + spki_der.size();
  const PkeyPtr key(d2i_PUBKEY(nullptr, &cursor, static_cast<long>(spki_der.size())));
  if (key == nullptr || cursor != end) return Malformed("the bytes are not a SubjectPublicKeyInfo");
  return FromEvp(key.get());
}

std::string EcPublicKey::ToPem() const {
  const BioPtr bio = WriteBio();
  PEM_write_bio_PUBKEY(bio.get(), key_.get());
  return BioContents(bio.get());
}

std::string EcPublicKey::ToDer() const {
  const BioPtr bio = WriteBio();
  i2d_PUBKEY_bio(bio.get(), key_.get());
  return BioContents(bio.get());
}

std::string EcPublicKey::x() const { return Coordinate(key_.get(), OSSL_PKEY_PARAM_EC_PUB_X); }
std::string EcPublicKey::y() const { return Coordinate(key_.get(), OSSL_PKEY_PARAM_EC_PUB_Y); }

std::string EcPublicKey::ToJwk() const {
  return fmt::format(R"({{"crv":"P-256","kty":"EC","x":"{}","y":"{}"}})", Base64UrlEncode(x()), Base64UrlEncode(y()));
}

std::string EcPublicKey::Thumbprint() const { return Base64UrlEncode(Sha256(ToJwk())); }

absl::Status EcPublicKey::Verify(std::string_view message, std::string_view signature_der) const {
  const MdCtxPtr ctx(EVP_MD_CTX_new());
  if (EVP_DigestVerifyInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1) {
    return OpenSslError("cannot verify a signature");
  }
  const int result =
      EVP_DigestVerify(ctx.get(), reinterpret_cast<const unsigned char*>(signature_der.data()), signature_der.size(),
                       reinterpret_cast<const unsigned char*>(message.data()), message.size());
  if (result == 1) return absl::OkStatus();
  ERR_clear_error();
  return Error(absl::StatusCode::kUnauthenticated, "SIGNATURE_INVALID", "the signature does not match");
}

absl::StatusOr<EcPrivateKey> EcPrivateKey::Generate() {
  PkeyPtr key(EVP_EC_gen("P-256"));
  if (key == nullptr) return OpenSslError("cannot make a P-256 key");
  return EcPrivateKey(Share(std::move(key)));
}

absl::StatusOr<EcPrivateKey> EcPrivateKey::FromPem(std::string_view pem) {
  const BioPtr bio = ReadBio(pem);
  PkeyPtr key(PEM_read_bio_PrivateKey(bio.get(), nullptr, NoPassword, nullptr));
  if (key == nullptr) return Malformed("the text is not an unencrypted private key in PEM");
  if (!OnlyWhitespaceLeft(bio.get())) return Malformed("text follows the private key");
  POSTERN_RETURN_IF_ERROR(RequireP256(key.get()));
  return EcPrivateKey(Share(std::move(key)));
}

Secret EcPrivateKey::ToPem() const {
  const BioPtr bio = WriteBio();
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key_.get(), nullptr, nullptr, 0, nullptr, nullptr);
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  Secret pem(std::string_view(data, static_cast<size_t>(size)));
  OPENSSL_cleanse(data, static_cast<size_t>(size));
  return pem;
}

Secret EcPrivateKey::d() const {
  std::string scalar = Coordinate(key_.get(), OSSL_PKEY_PARAM_PRIV_KEY);
  return Secret::Take(scalar);
}

EcPublicKey EcPrivateKey::public_key() const {
  // A copy without the private half, so that a public key in hand never leads back to the secret.
  const BioPtr bio = WriteBio();
  i2d_PUBKEY_bio(bio.get(), key_.get());
  return *EcPublicKey::FromDer(BioContents(bio.get()));
}

absl::StatusOr<std::string> EcPrivateKey::Sign(std::string_view message) const {
  const MdCtxPtr ctx(EVP_MD_CTX_new());
  size_t size = 0;
  const auto* const data = reinterpret_cast<const unsigned char*>(message.data());
  if (EVP_DigestSignInit(ctx.get(), nullptr, EVP_sha256(), nullptr, key_.get()) != 1 ||
      EVP_DigestSign(ctx.get(), nullptr, &size, data, message.size()) != 1) {
    return OpenSslError("cannot sign");
  }
  std::string signature(size, '\0');
  if (EVP_DigestSign(ctx.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, data, message.size()) != 1) {
    return OpenSslError("cannot sign");
  }
  signature.resize(size);
  return signature;
}

}  // namespace postern::crypto
