#include "sidecar/session/scram.h"

#include <string>

#include <gtest/gtest.h>

#include "common/base/errors.h"

namespace postern::session {
namespace {

// Values of a real exchange with PostgreSQL's algorithm: user empty, password "pencil", nonce and salt of RFC 7677.
constexpr std::string_view kNonce = "rOprNGfwEbeRWgbNEkqO";
constexpr std::string_view kServerFirst =
    "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";

TEST(Scram, ProofDependsOnPasswordAndIsStable) {
  const crypto::Secret password("pencil");
  ScramClient scram(password, std::string(kNonce), "", false);
  EXPECT_EQ(scram.ClientFirst(), "n,,n=,r=rOprNGfwEbeRWgbNEkqO");
  const auto final = scram.ClientFinal(kServerFirst);
  ASSERT_TRUE(final.ok());
  EXPECT_EQ(final->substr(0, final->find(",p=")), "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0");
  const crypto::Secret other("pencils");
  ScramClient wrong(other, std::string(kNonce), "", false);
  EXPECT_NE(*wrong.ClientFinal(kServerFirst), *final);
}

TEST(Scram, ChannelBindingIsPartOfTheProof) {
  const crypto::Secret password("pencil");
  ScramClient bound(password, std::string(kNonce), "end point", false);
  EXPECT_EQ(bound.ClientFirst(), "p=tls-server-end-point,,n=,r=rOprNGfwEbeRWgbNEkqO");
  ScramClient visible(password, std::string(kNonce), "", true);
  EXPECT_EQ(visible.ClientFirst(), "y,,n=,r=rOprNGfwEbeRWgbNEkqO") << "a downgrade must show to the server";
}

TEST(Scram, RefusesWhatDoesNotContinueOurNonce) {
  const crypto::Secret password("pencil");
  for (const char* first : {
           "r=somebodyelse,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
           "r=rOprNGfwEbeRWgbNEkqO,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
           "r=rOprNGfwEbeRWgbNEkqOx,s=!,i=4096",
           "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=0",
           "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=99999999",
           "r=rOprNGfwEbeRWgbNEkqOx,s=W22ZaJ0SNY7soEsUEjb6gQ==",
           "",
       }) {
    ScramClient scram(password, std::string(kNonce), "", false);
    EXPECT_FALSE(scram.ClientFinal(first).ok()) << first;
  }
}

TEST(Scram, ServerMustProveThatItKnowsTheVerifier) {
  const crypto::Secret password("pencil");
  ScramClient scram(password, std::string(kNonce), "", false);
  EXPECT_FALSE(scram.Finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=").ok()) << "before the exchange";
  ASSERT_TRUE(scram.ClientFinal(kServerFirst).ok());
  EXPECT_EQ(ReasonOf(scram.Finish("v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=")), "UPSTREAM_SCRAM")
      << "a signature over another exchange";
  EXPECT_FALSE(scram.Finish("e=other-error").ok());
  EXPECT_FALSE(scram.Finish("").ok());
}

}  // namespace
}  // namespace postern::session
