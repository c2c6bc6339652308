#include "controlplane/credential/credential_vault.h"

#include <gtest/gtest.h>

#include "common/base/errors.h"

namespace postern::credential {
namespace {

class CredentialVaultTest : public testing::Test {
 protected:
  static crypto::Keyring OneKey() {
    std::vector<crypto::Keyring::Kek> keks;
    keks.push_back({"k1", crypto::Secret(Random::System().Bytes(crypto::kKekBytes))});
    return *crypto::Keyring::Create(std::move(keks));
  }

  CredentialVault vault_{OneKey(), Random::System()};
};

TEST_F(CredentialVaultTest, GivesBackWhatItSealed) {
  const std::string password = *vault_.SealPassword("demo", crypto::Secret("hunter2"));
  EXPECT_EQ(password.find("hunter2"), std::string::npos);
  EXPECT_EQ(vault_.OpenPassword("demo", password)->Expose(), "hunter2");
  const std::string key = *vault_.SealServiceKey("token", "key-1", crypto::Secret("pem"));
  EXPECT_EQ(vault_.OpenServiceKey("token", "key-1", key)->Expose(), "pem");
}

TEST_F(CredentialVaultTest, MaskKeysAreRandomAndLong) {
  const crypto::Secret a = *vault_.OpenMaskKey("demo", *vault_.SealNewMaskKey("demo"));
  const crypto::Secret b = *vault_.OpenMaskKey("demo", *vault_.SealNewMaskKey("demo"));
  EXPECT_EQ(a.size(), kMaskKeyBytes);
  EXPECT_NE(a.Expose(), b.Expose());
}

TEST_F(CredentialVaultTest, NothingOpensInAnotherPlace) {
  const std::string password = *vault_.SealPassword("demo", crypto::Secret("hunter2"));
  EXPECT_EQ(ReasonOf(vault_.OpenPassword("prod", password).status()), "SEAL_BROKEN");
  EXPECT_EQ(ReasonOf(vault_.OpenMaskKey("demo", password).status()), "SEAL_BROKEN");
  EXPECT_EQ(ReasonOf(vault_.OpenServiceKey("token", "demo", password).status()), "SEAL_BROKEN");
  const std::string key = *vault_.SealServiceKey("token", "key-1", crypto::Secret("pem"));
  EXPECT_EQ(ReasonOf(vault_.OpenServiceKey("audit", "key-1", key).status()), "SEAL_BROKEN");
}

TEST_F(CredentialVaultTest, AnotherKeyFileDoesNotOpenIt) {
  const std::string password = *vault_.SealPassword("demo", crypto::Secret("hunter2"));
  EXPECT_EQ(ReasonOf(CredentialVault(OneKey(), Random::System()).OpenPassword("demo", password).status()),
            "SEAL_BROKEN");
}

}  // namespace
}  // namespace postern::credential
