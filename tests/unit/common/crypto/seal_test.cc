#include "common/crypto/seal.h"

#include <filesystem>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "common/base/errors.h"
#include "common/crypto/base64.h"

namespace postern::crypto {
namespace {

Keyring::Kek MakeKek(std::string id) { return {std::move(id), Secret(Random::System().Bytes(kKekBytes))}; }

Keyring OneKey(std::string id = "k1") {
  std::vector<Keyring::Kek> keks;
  keks.push_back(MakeKek(std::move(id)));
  return *Keyring::Create(std::move(keks));
}

class SealFileTest : public testing::Test {
 protected:
  SealFileTest() {
    std::string pattern = testing::TempDir() + "/sealXXXXXX";
    folder_ = mkdtemp(pattern.data());
  }
  ~SealFileTest() override { std::filesystem::remove_all(folder_); }

  std::string Path(std::string_view name) const { return folder_ + "/" + std::string(name); }
  std::string Write(std::string_view name, std::string_view text, mode_t mode = 0600) const {
    std::ofstream(Path(name)) << text;
    chmod(Path(name).c_str(), mode);
    return Path(name);
  }

  std::string folder_;
};

TEST(Seal, OpensToWhatWasSealed) {
  const Keyring keys = OneKey();
  for (const size_t size : {0u, 1u, 15u, 16u, 17u, 5000u}) {
    const Secret plaintext(Random::System().Bytes(size));
    const std::string sealed = *keys.Seal(plaintext, "target/demo/password", Random::System());
    EXPECT_EQ(keys.Open(sealed, "target/demo/password")->Expose(), plaintext.Expose());
  }
}

TEST(Seal, HasTheDocumentedForm) {
  const std::string sealed = *OneKey("k1").Seal(Secret("hunter2"), "place", Random::System());
  EXPECT_EQ(sealed.substr(0, 4), "PSE1");
  EXPECT_EQ(sealed[4], 2);
  EXPECT_EQ(sealed.substr(5, 2), "k1");
  EXPECT_EQ(sealed.size(), 4u + 1 + 2 + (12 + 32 + 16) + (12 + 7 + 16));
  EXPECT_EQ(sealed.find("hunter2"), std::string::npos);
}

TEST(Seal, NeverTwiceTheSame) {
  const Keyring keys = OneKey();
  EXPECT_NE(*keys.Seal(Secret("x"), "p", Random::System()), *keys.Seal(Secret("x"), "p", Random::System()));
}

TEST(Seal, EachAlteredByteIsNoticed) {
  const Keyring keys = OneKey();
  const std::string sealed = *keys.Seal(Secret("hunter2"), "place", Random::System());
  for (size_t i = 0; i < sealed.size(); ++i) {
    std::string altered = sealed;
    altered[i] = static_cast<char>(altered[i] ^ 1);
    EXPECT_FALSE(keys.Open(altered, "place").ok()) << "byte " << i;
  }
}

TEST(Seal, EachTruncationIsNoticed) {
  const Keyring keys = OneKey();
  const std::string sealed = *keys.Seal(Secret("hunter2"), "place", Random::System());
  for (size_t size = 0; size < sealed.size(); ++size) {
    EXPECT_EQ(ReasonOf(keys.Open(std::string_view(sealed).substr(0, size), "place").status()), "SEAL_BROKEN") << size;
  }
}

TEST(Seal, DoesNotOpenElsewhere) {
  const Keyring keys = OneKey();
  const std::string sealed = *keys.Seal(Secret("x"), "target/a/password", Random::System());
  EXPECT_EQ(ReasonOf(keys.Open(sealed, "target/b/password").status()), "SEAL_BROKEN");
}

TEST(Seal, OldKeysStillOpen) {
  Keyring::Kek old_kek = MakeKek("old");
  std::vector<Keyring::Kek> before;
  before.push_back({"old", old_kek.key.Clone()});
  const std::string sealed = *Keyring::Create(std::move(before))->Seal(Secret("x"), "p", Random::System());

  std::vector<Keyring::Kek> after;
  after.push_back(MakeKek("new"));
  after.push_back(std::move(old_kek));
  const Keyring keys = *Keyring::Create(std::move(after));
  EXPECT_EQ(keys.current_id(), "new");
  EXPECT_EQ(keys.Open(sealed, "p")->Expose(), "x");
  EXPECT_EQ(ReasonOf(OneKey("new").Open(sealed, "p").status()), "KEK_UNKNOWN");
  EXPECT_EQ(ReasonOf(OneKey("old").Open(sealed, "p").status()), "SEAL_BROKEN");
}

TEST(Seal, KeysMustBeWellFormed) {
  EXPECT_FALSE(Keyring::Create({}).ok());
  for (const std::string_view id : {"", "Upper", "with space", "a-name-that-is-longer-than-32-chars"}) {
    std::vector<Keyring::Kek> keks;
    keks.push_back(MakeKek(std::string(id)));
    EXPECT_EQ(ReasonOf(Keyring::Create(std::move(keks)).status()), "KEK_MALFORMED") << id;
  }
  std::vector<Keyring::Kek> twice;
  twice.push_back(MakeKek("a"));
  twice.push_back(MakeKek("a"));
  EXPECT_FALSE(Keyring::Create(std::move(twice)).ok());
  std::vector<Keyring::Kek> too_short;
  too_short.push_back({"a", Secret("short")});
  EXPECT_FALSE(Keyring::Create(std::move(too_short)).ok());
}

TEST_F(SealFileTest, ACreatedFileLoads) {
  ASSERT_TRUE(Keyring::CreateFile(Path("kek"), "k1", Random::System()).ok());
  struct stat info {};
  ASSERT_EQ(stat(Path("kek").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  EXPECT_EQ(Keyring::Load(Path("kek"))->current_id(), "k1");
  EXPECT_EQ(ReasonOf(Keyring::CreateFile(Path("kek"), "k2", Random::System())), "KEK_FILE_EXISTS");
}

TEST_F(SealFileTest, CommentsAndEmptyLinesAreSkipped) {
  const std::string key = Base64Encode(Random::System().Bytes(kKekBytes));
  const absl::StatusOr<Keyring> keys = Keyring::Load(Write("kek", "# keys\n\nnew " + key + "\nold " + key));
  ASSERT_TRUE(keys.ok()) << keys.status();
  EXPECT_EQ(keys->current_id(), "new");
}

TEST_F(SealFileTest, AFileThatOthersMayReadIsRefused) {
  const std::string key = Base64Encode(Random::System().Bytes(kKekBytes));
  for (const mode_t mode : {0640u, 0604u, 0620u, 0666u}) {
    EXPECT_EQ(ReasonOf(Keyring::Load(Write("kek", "k1 " + key + "\n", mode)).status()), "KEK_FILE_OPEN_TO_OTHERS");
  }
}

TEST_F(SealFileTest, BadFilesAreRefusedWithoutQuotingThem) {
  EXPECT_EQ(ReasonOf(Keyring::Load(Path("absent")).status()), "KEK_FILE_MISSING");
  for (const std::string_view text : {"", "k1\n", "k1 AAAA\n", "k1 not-base64-but-private\n", "k1  AAAA\n"}) {
    const absl::Status status = Keyring::Load(Write("kek", text)).status();
    EXPECT_EQ(ReasonOf(status), "KEK_MALFORMED") << text;
    EXPECT_EQ(status.ToString().find("private"), std::string::npos);
  }
}

}  // namespace
}  // namespace postern::crypto
