-- Keys whose signature on a token is believed (authz_set_session_token). Everything that decides how a token is checked
-- comes from here: algorithm, issuer and audience are the row's, and the token has to agree with them.

CREATE TABLE authz.signing_key (
    key_id uuid NOT NULL DEFAULT gen_random_uuid(),
    kid text COLLATE "C" NOT NULL,
    issuer text COLLATE "C" NOT NULL,
    audience text COLLATE "C" NOT NULL,
    algorithm text COLLATE "C" NOT NULL,
    public_key text,
    secret bytea,
    valid_from timestamptz NOT NULL DEFAULT now(),
    valid_until timestamptz,
    active_from timestamptz NOT NULL GENERATED ALWAYS AS (valid_from) STORED,
    active_until timestamptz NOT NULL GENERATED ALWAYS AS (coalesce(valid_until, 'infinity')) STORED,
    CONSTRAINT signing_key_pkey PRIMARY KEY (key_id),
    CONSTRAINT signing_key_kid_check CHECK (kid <> ''),
    CONSTRAINT signing_key_issuer_check CHECK (issuer <> ''),
    CONSTRAINT signing_key_audience_check CHECK (audience <> ''),
    CONSTRAINT signing_key_algorithm_check CHECK (algorithm IN ('EdDSA', 'ES256', 'RS256', 'HS256')),
    CONSTRAINT signing_key_public_key_check CHECK ((public_key IS NOT NULL) = (algorithm <> 'HS256')),
    CONSTRAINT signing_key_secret_check CHECK ((secret IS NOT NULL) = (algorithm = 'HS256')),
    CONSTRAINT signing_key_valid_until_check CHECK (valid_until >= valid_from)
);
-- A key that serves two audiences has two rows; one whose audience was mistyped is closed and entered again.
CREATE UNIQUE INDEX signing_key_open_key ON authz.signing_key (issuer, kid, audience) WHERE valid_until IS NULL;
CREATE INDEX signing_key_issuer_idx ON authz.signing_key (issuer, kid);
COMMENT ON TABLE authz.signing_key IS
    'Keys that session tokens are signed with. Whoever may write here may be anybody; whoever may read secret, too.';
COMMENT ON COLUMN authz.signing_key.key_id IS 'Key of the row.';
COMMENT ON COLUMN authz.signing_key.kid IS 'The token''s kid header: which key of the issuer it is.';
COMMENT ON COLUMN authz.signing_key.issuer IS 'The token''s iss must be this, character by character.';
COMMENT ON COLUMN authz.signing_key.audience IS
    'The token''s aud must be or contain this: without it, a token made for another service would do.';
COMMENT ON COLUMN authz.signing_key.algorithm IS
    'EdDSA (Ed25519), ES256, RS256 or HS256; a token whose header names another one is refused.';
COMMENT ON COLUMN authz.signing_key.public_key IS 'Public key in PEM (BEGIN PUBLIC KEY); NULL for HS256.';
COMMENT ON COLUMN authz.signing_key.secret IS
    'Shared secret of HS256, at least 32 bytes; NULL otherwise. It is in every dump of the database, so prefer a public key.';
COMMENT ON COLUMN authz.signing_key.valid_from IS 'Start.';
COMMENT ON COLUMN authz.signing_key.valid_until IS 'End, exclusive; NULL: open. Set it to retire the key.';
COMMENT ON COLUMN authz.signing_key.active_from IS 'In force from here.';
COMMENT ON COLUMN authz.signing_key.active_until IS 'In force until here, exclusive; infinity: open.';

CREATE TRIGGER guard_delete BEFORE DELETE ON authz.signing_key
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_truncate BEFORE TRUNCATE ON authz.signing_key
    FOR EACH STATEMENT EXECUTE FUNCTION authz.refuse_delete('Set valid_until instead.');
CREATE TRIGGER guard_update BEFORE UPDATE ON authz.signing_key
    FOR EACH ROW EXECUTE FUNCTION authz.refuse_overwrite('{"valid_until": "until"}');
-- ALWAYS: a key that arrives by replication is used here, too.
CREATE TRIGGER check_signing_key BEFORE INSERT OR UPDATE ON authz.signing_key
    FOR EACH ROW EXECUTE FUNCTION authz.check_signing_key();
ALTER TABLE authz.signing_key ENABLE ALWAYS TRIGGER check_signing_key;

SELECT pg_catalog.pg_extension_config_dump('authz.signing_key'::pg_catalog.regclass, '');
