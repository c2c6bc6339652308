#include "sidecar/uplink/identity_file.h"

#include <fstream>
#include <string>
#include <utility>

#include <gtest/gtest.h>
#include <sys/stat.h>

#include "common/base/errors.h"
#include "tests/unit/sidecar/uplink/temp_dir.h"

namespace postern::sidecar {
namespace {

SidecarIdentity Sample() {
  SidecarIdentity identity;
  identity.address = "cp.example:7443";
  identity.sidecar_id = "sdc_1";
  identity.generation = 7;
  identity.key_pem = crypto::Secret(std::string_view("the key"));
  identity.certificate_chain_pem = "the chain";
  identity.ca_pem = "the ca";
  return identity;
}

TEST(IdentityFile, ReadsWhatWasWritten) {
  TempDir dir;
  ASSERT_TRUE(SaveIdentity(Sample(), dir.path()).ok());
  absl::StatusOr<SidecarIdentity> read = LoadIdentity(dir.path());
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->address, "cp.example:7443");
  EXPECT_EQ(read->sidecar_id, "sdc_1");
  EXPECT_EQ(read->generation, 7);
  EXPECT_EQ(read->key_pem.Expose(), "the key");
  EXPECT_EQ(read->certificate_chain_pem, "the chain");
  EXPECT_EQ(read->ca_pem, "the ca");
}

TEST(IdentityFile, OnlyTheOwnerMayReadIt) {
  TempDir dir;
  const std::string folder = dir.path() + "/data";
  ASSERT_TRUE(SaveIdentity(Sample(), folder).ok());
  struct stat info;
  ASSERT_EQ(stat((folder + "/identity.json").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  ASSERT_EQ(stat(folder.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  ASSERT_EQ(chmod((folder + "/identity.json").c_str(), 0640), 0);
  EXPECT_EQ(ReasonOf(LoadIdentity(folder).status()), "IDENTITY_OPEN_TO_OTHERS");
}

TEST(IdentityFile, ReplacingLeavesNothingElseBehind) {
  TempDir dir;
  ASSERT_TRUE(SaveIdentity(Sample(), dir.path()).ok());
  SidecarIdentity next = Sample();
  next.generation = 8;
  ASSERT_TRUE(SaveIdentity(next, dir.path()).ok());
  EXPECT_EQ(LoadIdentity(dir.path())->generation, 8);
  int files = 0;
  for ([[maybe_unused]] const auto& entry : std::filesystem::directory_iterator(dir.path())) ++files;
  EXPECT_EQ(files, 1);
}

TEST(IdentityFile, MissingAndDamagedAreToldApart) {
  TempDir dir;
  EXPECT_EQ(ReasonOf(LoadIdentity(dir.path()).status()), "NOT_JOINED");
  for (const char* text : {"", "{", "[]", "{\"version\": 2}", "{\"version\": 1}",
                           "{\"version\": 1, \"address\": 5, \"sidecar_id\": \"x\"}"}) {
    ASSERT_TRUE(ReplaceFile(dir.path(), "identity.json", text).ok());
    EXPECT_EQ(ReasonOf(LoadIdentity(dir.path()).status()), "IDENTITY_DAMAGED") << text;
  }
}

TEST(IdentityFile, FolderThatCannotBeWrittenIsAnError) {
  TempDir dir;
  std::ofstream(dir.path() + "/file") << "not a folder";
  EXPECT_EQ(ReasonOf(SaveIdentity(Sample(), dir.path() + "/file")), "FILE_NOT_WRITTEN");
}

}  // namespace
}  // namespace postern::sidecar
