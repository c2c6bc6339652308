#include <type_traits>

#include <gtest/gtest.h>

#include "common/base/random.h"
#include "common/crypto/base64.h"
#include "common/crypto/hash.h"
#include "common/crypto/secret.h"

namespace postern::crypto {
namespace {

struct Vector {
  std::string_view bytes;
  std::string_view standard;
  std::string_view url_safe;
};

// RFC 4648 section 10, and two that use the last letters of the alphabets.
constexpr Vector kVectors[] = {
    {"", "", ""},
    {"f", "Zg==", "Zg"},
    {"fo", "Zm8=", "Zm8"},
    {"foo", "Zm9v", "Zm9v"},
    {"foob", "Zm9vYg==", "Zm9vYg"},
    {"fooba", "Zm9vYmE=", "Zm9vYmE"},
    {"foobar", "Zm9vYmFy", "Zm9vYmFy"},
    {"\xfb\xff\xbf", "+/+/", "-_-_"},
    {"\xff", "/w==", "_w"},
};

TEST(Base64, AgreesWithRfc4648) {
  for (const Vector& v : kVectors) {
    EXPECT_EQ(Base64Encode(v.bytes), v.standard);
    EXPECT_EQ(Base64UrlEncode(v.bytes), v.url_safe);
    EXPECT_EQ(*Base64Decode(v.standard), v.bytes);
    EXPECT_EQ(*Base64UrlDecode(v.url_safe), v.bytes);
  }
}

TEST(Base64, HoldsAnyBytes) {
  for (size_t n = 0; n < 300; ++n) {
    const std::string bytes = Random::System().Bytes(n);
    EXPECT_EQ(*Base64Decode(Base64Encode(bytes)), bytes);
    EXPECT_EQ(*Base64UrlDecode(Base64UrlEncode(bytes)), bytes);
  }
}

TEST(Base64, EachValueHasOneSpelling) {
  for (const std::string_view text : {"Zg", "Zg=", "Zg===", "Zh==", "Zm9=", "Z", "====", "Zg==Zg==", "Zm9v\n", " Zm9v",
                                      "Zm-v", "Zm_v", "Zm\xc3\xa4v"}) {
    EXPECT_FALSE(Base64Decode(text).ok()) << text;
  }
  for (const std::string_view text : {"Zg==", "Zh", "Zm9", "Z", "Zm9v\n", "Zm+v", "Zm/v", "Zg="}) {
    EXPECT_FALSE(Base64UrlDecode(text).ok()) << text;
  }
}

TEST(Hash, AgreesWithFips180) {
  EXPECT_EQ(HexEncode(Sha256("")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(HexEncode(Sha256("abc")), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Hash, HmacAgreesWithRfc4231) {
  EXPECT_EQ(HexEncode(HmacSha256(Secret("Jefe"), "what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
  EXPECT_EQ(HexEncode(HmacSha256(Secret(), "")), "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad");
}

TEST(Hash, ConstantTimeEqualIsEquality) {
  EXPECT_TRUE(ConstantTimeEqual("", ""));
  EXPECT_TRUE(ConstantTimeEqual("secret", "secret"));
  EXPECT_FALSE(ConstantTimeEqual("secret", "secreT"));
  EXPECT_FALSE(ConstantTimeEqual("secret", "secret "));
}

TEST(Secret, IsReadThroughExposeAlone) {
  Secret secret("hunter2");
  EXPECT_EQ(secret.Expose(), "hunter2");
  EXPECT_EQ(secret.size(), 7u);
  static_assert(!std::is_copy_constructible_v<Secret>);
  static_assert(!std::is_convertible_v<Secret, std::string>);
  static_assert(!std::is_convertible_v<Secret, std::string_view>);
}

TEST(Secret, TakeWipesTheOriginal) {
  std::string original = "a password longer than the small-string buffer";
  const char* const bytes = original.data();
  const Secret secret = Secret::Take(original);
  EXPECT_EQ(secret.Expose(), "a password longer than the small-string buffer");
  EXPECT_TRUE(original.empty());
  EXPECT_EQ(bytes[5], '\0');  // The buffer is still the string's own.
}

TEST(Secret, MovedFromIsEmpty) {
  Secret a("one");
  Secret b = std::move(a);
  EXPECT_TRUE(a.empty());  // NOLINT(bugprone-use-after-move): that is what is promised.
  EXPECT_EQ(a.Expose(), "");
  b = Secret("two");
  EXPECT_EQ(b.Expose(), "two");
  EXPECT_EQ(b.Clone().Expose(), "two");
}

}  // namespace
}  // namespace postern::crypto
