#include "common/crypto/ec_key.h"

#include <gtest/gtest.h>
#include <openssl/pem.h>

#include "common/base/errors.h"
#include "common/crypto/base64.h"
#include "common/crypto/openssl_util.h"

namespace postern::crypto {
namespace {

// The key of RFC 7515 appendix A.3, as PEM.
constexpr std::string_view kRfc7515Key =
    "-----BEGIN PUBLIC KEY-----\n"
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEf83OJ3D2xF1Bg8vub9tLe1gHMzV7\n"
    "6e8Tus9uPHvRVEXH8UTNG72bfocs3+257rn0s2ldbqkLJK2KRiMohYjlrQ==\n"
    "-----END PUBLIC KEY-----\n";

std::string PublicPem(EVP_PKEY* key) {
  const BioPtr bio = WriteBio();
  PEM_write_bio_PUBKEY(bio.get(), key);
  return BioContents(bio.get());
}

TEST(EcKey, JwkAndThumbprintAgreeWithTheRfcs) {
  const EcPublicKey key = *EcPublicKey::FromPem(kRfc7515Key);
  EXPECT_EQ(key.ToJwk(), R"({"crv":"P-256","kty":"EC","x":"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",)"
                         R"("y":"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"})");
  // SHA-256 of the text above.
  EXPECT_EQ(key.Thumbprint(), "oKIywvGUpTVTyxMQ3bwIIeQUudfr_CkLMjCE19ECD-U");
}

TEST(EcKey, PemComesBackAsItWent) {
  const EcPrivateKey key = *EcPrivateKey::Generate();
  const EcPrivateKey again = *EcPrivateKey::FromPem(key.ToPem().Expose());
  EXPECT_EQ(again.d().Expose(), key.d().Expose());
  EXPECT_EQ(again.public_key().ToPem(), key.public_key().ToPem());
  EXPECT_EQ(EcPublicKey::FromPem(key.public_key().ToPem())->ToJwk(), key.public_key().ToJwk());
  EXPECT_EQ(EcPublicKey::FromDer(key.public_key().ToDer())->ToJwk(), key.public_key().ToJwk());
}

TEST(EcKey, SignaturesVerifyForTheirMessageAndKeyOnly) {
  const EcPrivateKey key = *EcPrivateKey::Generate();
  const std::string signature = *key.Sign("tree head 1");
  EXPECT_TRUE(key.public_key().Verify("tree head 1", signature).ok());
  EXPECT_EQ(ReasonOf(key.public_key().Verify("tree head 2", signature)), "SIGNATURE_INVALID");
  EXPECT_EQ(ReasonOf(EcPrivateKey::Generate()->public_key().Verify("tree head 1", signature)), "SIGNATURE_INVALID");
  EXPECT_EQ(ReasonOf(key.public_key().Verify("tree head 1", "")), "SIGNATURE_INVALID");
  EXPECT_EQ(ReasonOf(key.public_key().Verify("tree head 1", signature + "x")), "SIGNATURE_INVALID");
}

TEST(EcKey, OtherKindsAreRefused) {
  const PkeyPtr rsa(EVP_RSA_gen(2048));
  const PkeyPtr p384(EVP_EC_gen("P-384"));
  const PkeyPtr ed25519(EVP_PKEY_Q_keygen(nullptr, nullptr, "ED25519"));
  for (EVP_PKEY* key : {rsa.get(), p384.get(), ed25519.get()}) {
    EXPECT_EQ(ReasonOf(EcPublicKey::FromPem(PublicPem(key)).status()), "KEY_MALFORMED");
  }
}

TEST(EcKey, MalformedTextIsRefused) {
  const std::string pem(kRfc7515Key);
  EXPECT_FALSE(EcPublicKey::FromPem("").ok());
  EXPECT_FALSE(EcPublicKey::FromPem("-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----\n").ok());
  EXPECT_FALSE(EcPublicKey::FromPem(pem + pem).ok());
  EXPECT_FALSE(EcPublicKey::FromPem(pem + "x").ok());
  EXPECT_TRUE(EcPublicKey::FromPem(pem + "\n \n").ok());
  EXPECT_FALSE(EcPrivateKey::FromPem(pem).ok());
  EXPECT_FALSE(EcPublicKey::FromDer(EcPublicKey::FromPem(pem)->ToDer() + "x").ok());
}

TEST(EcKey, EncryptedKeysAreRefusedWithoutAskingForAPassword) {
  const EcPrivateKey key = *EcPrivateKey::Generate();
  const BioPtr bio = WriteBio();
  std::string password = "pw";
  PEM_write_bio_PKCS8PrivateKey(bio.get(), key.evp(), EVP_aes_256_cbc(), password.data(), 2, nullptr, nullptr);
  EXPECT_EQ(ReasonOf(EcPrivateKey::FromPem(BioContents(bio.get())).status()), "KEY_MALFORMED");
}

}  // namespace
}  // namespace postern::crypto
