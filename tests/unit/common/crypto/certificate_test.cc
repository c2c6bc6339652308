#include "common/crypto/certificate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/errors.h"

namespace postern::crypto {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

class CertificateTest : public testing::Test {
 protected:
  CertificateTest()
      : ca_(*CertificateAuthority::CreateRoot("Postern CA", clock_, Random::System())),
        key_(*EcPrivateKey::Generate()) {}

  IssuedCertificate Server(std::vector<std::string> dns, std::vector<std::string> addresses = {}) {
    return *ca_.IssueServer(key_.public_key(), {"server", std::move(dns), std::move(addresses), absl::Hours(24)},
                            clock_, Random::System());
  }
  IssuedCertificate Client() {
    return *ca_.IssueClient(key_.public_key(), "sidecar", SidecarUri("postern.example", "sdc_1"), absl::Hours(12),
                            clock_, Random::System());
  }
  std::string Rejection(std::string_view pem, CertificatePurpose purpose) const {
    return ReasonOf(VerifyCertificate(pem, ca_.certificate_pem(), purpose, clock_.Now()));
  }

  FakeClock clock_;
  CertificateAuthority ca_;
  EcPrivateKey key_;
};

TEST_F(CertificateTest, ServerCertificatesNameWhatWasAskedFor) {
  const IssuedCertificate issued = Server({"postern.example", "localhost"}, {"127.0.0.1", "::1"});
  const CertificateInfo info = *ReadCertificate(issued.pem);
  EXPECT_EQ(info.common_name, "server");
  EXPECT_THAT(info.dns_names, ElementsAre("postern.example", "localhost"));
  EXPECT_THAT(info.uris, IsEmpty());
  EXPECT_EQ(info.serial_hex, issued.serial_hex);
  EXPECT_EQ(info.not_before, clock_.Now() - kCertificateBackdate);
  EXPECT_EQ(info.not_after, clock_.Now() + absl::Hours(24));
  EXPECT_EQ(issued.not_after, info.not_after);
  EXPECT_EQ(Rejection(issued.pem, CertificatePurpose::kServer), "");
}

TEST_F(CertificateTest, ClientCertificatesCarryTheirUri) {
  const IssuedCertificate issued = Client();
  EXPECT_THAT(ReadCertificate(issued.pem)->uris, ElementsAre("postern://postern.example/sidecar/sdc_1"));
  EXPECT_EQ(Rejection(issued.pem, CertificatePurpose::kClient), "");
}

TEST_F(CertificateTest, AreGoodForTheirPurposeOnly) {
  EXPECT_EQ(Rejection(Server({"a.example"}).pem, CertificatePurpose::kClient), "CERTIFICATE_REJECTED");
  EXPECT_EQ(Rejection(Client().pem, CertificatePurpose::kServer), "CERTIFICATE_REJECTED");
}

TEST_F(CertificateTest, ExpireAndAreRefusedByAnotherRoot) {
  const IssuedCertificate issued = Client();
  const CertificateAuthority other = *CertificateAuthority::CreateRoot("Postern CA", clock_, Random::System());
  EXPECT_EQ(ReasonOf(VerifyCertificate(issued.pem, other.certificate_pem(), CertificatePurpose::kClient, clock_.Now())),
            "CERTIFICATE_REJECTED");
  clock_.Advance(absl::Hours(12) + absl::Seconds(1));
  EXPECT_EQ(Rejection(issued.pem, CertificatePurpose::kClient), "CERTIFICATE_REJECTED");
}

TEST_F(CertificateTest, ALeafCannotIssue) {
  const IssuedCertificate leaf = Client();
  const CertificateAuthority rogue = *CertificateAuthority::Load(leaf.pem, key_.ToPem());
  const IssuedCertificate forged = *rogue.IssueClient(key_.public_key(), "x", SidecarUri("postern.example", "sdc_2"),
                                                      absl::Hours(1), clock_, Random::System());
  EXPECT_EQ(Rejection(forged.pem + leaf.pem, CertificatePurpose::kClient), "CERTIFICATE_REJECTED");
}

TEST_F(CertificateTest, TheCaComesBackFromItsPem) {
  const CertificateAuthority again = *CertificateAuthority::Load(ca_.certificate_pem(), ca_.ExportKeyPem());
  const IssuedCertificate issued =
      *again.IssueServer(key_.public_key(), {"s", {"a.example"}, {}, absl::Hours(1)}, clock_, Random::System());
  EXPECT_EQ(Rejection(issued.pem, CertificatePurpose::kServer), "");
  EXPECT_EQ(ReasonOf(CertificateAuthority::Load(ca_.certificate_pem(), key_.ToPem()).status()), "CA_MISMATCH");
}

TEST_F(CertificateTest, NamesThatAreNoneAreRefused) {
  for (const std::string_view name : {"", "a,DNS:evil.example", "a b", ".example", "a.example.", "a\nb", "*"}) {
    const auto issued =
        ca_.IssueServer(key_.public_key(), {"s", {std::string(name)}, {}, absl::Hours(1)}, clock_, Random::System());
    EXPECT_EQ(ReasonOf(issued.status()), "CERTIFICATE_NAME") << name;
  }
  EXPECT_EQ(
      ReasonOf(
          ca_.IssueServer(key_.public_key(), {"s", {}, {"1.2.3"}, absl::Hours(1)}, clock_, Random::System()).status()),
      "CERTIFICATE_NAME");
  EXPECT_EQ(
      ReasonOf(ca_.IssueServer(key_.public_key(), {"s", {}, {}, absl::Hours(1)}, clock_, Random::System()).status()),
      "CERTIFICATE_NAME");
}

TEST_F(CertificateTest, SerialNumbersDiffer) { EXPECT_NE(Client().serial_hex, Client().serial_hex); }

TEST_F(CertificateTest, PinsAreOfTheKeyNotTheCertificate) {
  const std::string pin = *CertificatePin(Server({"a.example"}).pem);
  EXPECT_EQ(pin, *CertificatePin(Server({"b.example"}).pem));
  EXPECT_NE(pin, *CertificatePin(ca_.certificate_pem()));
  EXPECT_EQ(pin.substr(0, 7), "sha256:");
}

TEST_F(CertificateTest, RequestsProveTheirKey) {
  const std::string csr = *MakeCsr(key_, "ignored");
  EXPECT_EQ(VerifyCsr(csr)->Thumbprint(), key_.public_key().Thumbprint());
  std::string altered = csr;
  altered.back() = static_cast<char>(altered.back() ^ 1);
  EXPECT_EQ(ReasonOf(VerifyCsr(altered).status()), "CSR_MALFORMED");
  EXPECT_EQ(ReasonOf(VerifyCsr(csr + "x").status()), "CSR_MALFORMED");
  EXPECT_EQ(ReasonOf(VerifyCsr("").status()), "CSR_MALFORMED");
}

TEST_F(CertificateTest, BrokenPemIsRefused) {
  EXPECT_EQ(ReasonOf(ReadCertificate("").status()), "CERTIFICATE_MALFORMED");
  EXPECT_EQ(ReasonOf(ReadCertificate("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n").status()),
            "CERTIFICATE_MALFORMED");
  EXPECT_EQ(ReasonOf(ReadCertificate(ca_.certificate_pem() + "-----BEGIN CERTIFICATE-----\nAAAA\n").status()),
            "CERTIFICATE_MALFORMED");
}

TEST(SidecarUri, IsReadForItsOriginOnly) {
  EXPECT_EQ(SidecarIdOfUri("postern://postern.example/sidecar/sdc_1", "postern.example"), "sdc_1");
  for (const std::string_view uri :
       {"postern://other.example/sidecar/sdc_1", "postern://postern.example/sidecar/",
        "https://postern.example/sidecar/x", "postern://postern.example/sidecar/sdc_1/more",
        "postern://postern.example/sidecar/sdc_1?x", "postern://postern.example/sidecars/sdc_1",
        "postern://postern.example/sidecar/SDC"}) {
    EXPECT_EQ(SidecarIdOfUri(uri, "postern.example"), "") << uri;
  }
}

}  // namespace
}  // namespace postern::crypto
