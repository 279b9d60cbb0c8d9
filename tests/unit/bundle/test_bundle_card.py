from gemcut.bundle.card import license_text, model_card, notice
from gemcut.bundle.manifest import Manifest


def _with(manifest: Manifest, **changes: object) -> Manifest:
    return Manifest.model_validate({**manifest.model_dump(), **changes})


def test_card_says_what_it_is_from_what_how_and_how_true(manifest: Manifest) -> None:
    card = model_card(manifest)
    for said in (
        "# tiny for android-arm64",
        "someone/tiny at revision abc123",
        "**Proven**",
        "executorch 1.5.1, oldest 1.5.0",
        "`int4-32`: small",
        "0.01235 nats",
        "not a number",
        "| mean KL divergence | 0.01235 nats | users won't notice |",
        "| 99th percentile of KL | not a number | broken |",
        "In plain words, **broken**: past the limits",
        "mean_kl 0.05. Above that, replies change.",
        "gemcut validate .",
        "Apache License 2.0",
        manifest.model.files["model.safetensors"],
    ):
        assert said in card
    assert card == model_card(_with(manifest))


def test_card_of_an_unproven_bundle_says_so_and_why(manifest: Manifest) -> None:
    card = model_card(_with(manifest, proven=False, unproven=("mean KL 3.1 is past 0.05",)))
    assert "**Not proven**: mean KL 3.1 is past 0.05. Don't ship it." in card
    assert "**Proven**" not in card


def test_licence_is_the_checkpoints_own_or_the_known_text(manifest: Manifest) -> None:
    assert license_text(manifest, "Own terms") == "Own terms\n"
    assert "Version 2.0, January 2004" in license_text(manifest)
    gemma = _with(manifest, licence={"id": "gemma"})
    assert "Gemma Terms of Use found at ai.google.dev/gemma/terms" in license_text(gemma)
    assert "Gemma Terms of Use found at ai.google.dev/gemma/terms" in notice(gemma)
    unknown = _with(manifest, licence={})
    assert "names no licence" in license_text(unknown)


def test_notice_says_that_the_files_were_changed(manifest: Manifest) -> None:
    text = notice(manifest)
    assert "The files were changed" in text
    assert "recipe 'int4'" in text
    assert "Apache License 2.0" in text
