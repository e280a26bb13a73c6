"""`limner translate` and `limner import`."""

from __future__ import annotations

import contextlib
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from limner.cli.options import (
    Device,
    Dropout,
    Few,
    Json,
    Name,
    Seed,
    Statistics,
    pick_device,
    print_json,
    read_bytes,
    say,
)


def translate(
    run: Path,
    inputs: list[str],
    *,
    out: Path,
    size: str | None = None,
    tiles: Literal["exact", "fast", "off", "auto"] = "auto",
    memory: str | None = None,
    side: Literal["auto", "left", "right", "whole"] = "auto",
    convert: Annotated[bool, Parameter(negative=())] = False,
    recursive: Annotated[bool, Parameter(negative=())] = False,
    instances: Path | None = None,
    masks: Path | None = None,
    style: Path | None = None,
    samples: Few | None = None,
    as_: Annotated[
        Literal["uint8", "uint16", "int16", "float32"] | None, Parameter(name="--as")
    ] = None,
    seed: Seed = 0,
    checkpoint: Name = "best",
    backend: str = "folded",
    overwrite: Annotated[bool, Parameter(negative=())] = False,
    statistics: Statistics = None,
    dropout: Dropout = None,
    truncate: Annotated[bool, Parameter(negative=())] = False,
    device: Device = "auto",
    json: Json = False,
) -> None:
    """Translate pictures, or label maps, with a trained run.

    Each output bears the name of its input, as PNG, or as TIFF where PNG cannot hold the targets'
    type, or a georeference. Resolution and georeference go with the picture, adjusted to its size.
    Nothing that exists is overwritten unless `--overwrite` is given.

    **Examples**

    - `limner translate runs/facades labels/ --out photos`
    - `limner translate runs/facades a.png "more/*.png" --out photos --size original`
    - `limner translate runs/facades facades/test --side right --out photos`
    - `limner translate runs/city cityscapes/test_label --out photos`
    - `limner translate runs/tissue slide.tif --out stained --tiles fast --memory 2GiB`
    - `limner translate runs/ct contrasts.csv --out ct --masks bodies`
    - `limner translate runs/vae labels/ --out dusk --style evening.jpg`
    - `limner translate runs/vae labels/ --out many --samples 5`

    Parameters
    ----------
    run
        The run's folder.
    inputs
        Files, folders (their images), quoted globs, and manifests (CSV): the files of their columns
        source or source.NAME.
    out
        Folder for the results.
    size
        `trained` resizes as in training; `original` keeps each picture's size; or HEIGHTxWIDTH.
        Without it trained, or with `--tiles exact` and `fast` original.
    tiles
        Translate large pictures in tiles into tiled TIFFs, without seams and within `--memory`;
        a run of the same command that was stopped goes on. exact: as untiled (several passes where
        norms span the picture); fast: one pass, norms with the statistics of a sample. auto
        takes tiles for pictures that do not fit whole; off takes none.
    memory
        What a picture may take, such as 2GiB; without it most of what is free.
    side
        Translate one half of side-by-side pairs; auto does where a picture is twice as wide as
        those of the training, and says so.
    convert
        Convert pictures of 1, 2, 3 or 4 channels to the channels that the run takes.
    recursive
        Take the pictures in the folders of a folder, too; the results keep the tree.
    instances
        Folder of instance maps, for a run that draws their edges; those beside the label maps
        (`test_inst` by `test_label`) are found without it.
    masks
        Folder of masks with the names of the inputs: where they are 0 the results hold nodata, or
        the low end of their range where their type has no room for it.
    style
        A picture whose style the results take, for a run with an encoder (`spade-vae`).
    samples
        So many results for each input, in drawn styles: NAME_1.png, NAME_2.png ...
    as_
        The type of the samples written: without it the targets' own, with their values. uint8 is a
        preview, the targets' range from black to white.
    seed
        Decides the drawn styles.
    checkpoint
        best, newest or a step.
    backend
        eager, folded (exact), bf16 (faster), onnxruntime, openvino, openvino-bf16; `limner bench`
        says how fast and how true each is.
    overwrite
        Replace results that exist.
    truncate
        Cut values off to 8 bits where they are rounded otherwise: what the original projects do.
    """
    from limner.config import replace
    from limner.inference import (
        Translator,
        check_sources,
        check_style,
        draw_codes,
        further_sources,
        georeferenced,
        latent_of,
        masks_of,
        memory_for,
        outside_masks,
        plan_translation,
        read_style,
        result_suffix,
        sides_of,
        tiled_sources,
        translate_file,
        translate_in_tiles,
    )
    from limner.terminal import progress, stages

    room = read_bytes(memory, option="--memory")
    device = pick_device(device)
    translator = Translator.load(
        run,
        checkpoint=checkpoint,
        device=device,
        seed=seed,
        backend=backend,
        statistics=statistics,
        dropout=None if dropout is None else dropout == "true",
    )
    if convert:
        translator.config = replace(translator.config, {"data.convert": True})
    config = translator.config
    check_style(config, style=style is not None, samples=samples is not None)
    planned = partial(
        plan_translation,
        inputs,
        out=out,
        overwrite=overwrite,
        labels=config.data.labels is not None,
        samples=samples,
        recursive=recursive,
    )
    suffix = result_suffix(config, as_)
    tasks = planned(suffix=suffix)
    if georeferenced([source for source, _ in tasks]):
        tasks = planned(suffix=(suffix := ".tif"))
    sources = list(dict.fromkeys(source for source, _ in tasks))
    more = further_sources(inputs)
    check_sources(config, sources, more=more)
    size = size or ("original" if tiles in ("exact", "fast") else "trained")
    room = memory_for(room)
    tiled, needs = tiled_sources(translator, sources, tiles=tiles, size=size, memory=room)
    tasks = planned(suffix=suffix, tiffs=tiled)
    of_source = {} if masks is None else masks_of(sources, masks)
    said = outside_masks(config, as_) if masks is not None or config.data.mask else None
    halves, note = sides_of(config, sources, side=side, size=size)
    for sentence in (translator.note, note, said):
        if sentence is not None:
            say(sentence, aside=True)
    picture = None if style is None else read_style(config, style)
    codes = None if samples is None else draw_codes(samples, latent_of(config), seed=seed)
    with progress("translating", len(tasks)) as advance:
        for number, (source, result) in enumerate(tasks):
            code = None if codes is None else codes[number % len(codes)][None]
            with contextlib.ExitStack() as stack:
                if needs is not None and source in tiled:
                    show = stack.enter_context(stages(left=True))
                    made = partial(
                        translate_in_tiles,
                        mode=tiled[source],
                        needs=needs,
                        memory=room,
                        progress=lambda what, done, total, show=show: show(done, total, what),
                        tell=partial(say, aside=True),
                    )
                else:
                    made = partial(translate_file, size=size)
                made(
                    translator,
                    source,
                    result,
                    style=picture,
                    code=code,
                    side=halves[source],
                    instances=instances,
                    wanted_type=as_,
                    truncate=truncate,
                    more=more.get(source, ()),
                    mask=of_source.get(source),
                )
            advance()
    if json:
        print_json([{"input": source, "output": result} for source, result in tasks])
    else:
        say(f"{len(tasks)} pictures in {out}")


def import_run(
    file: Path,
    *,
    project: Annotated[str, Parameter(name="--from")],
    out: Path,
    option: Annotated[
        list[str] | None,
        Parameter(negative=(), help="An option of that project's, as name=value; may be repeated."),
    ] = None,
    discriminator: Path | None = None,
    encoder: Path | None = None,
    direction: Literal["AtoB", "BtoA"] | None = None,
    json: Json = False,
) -> None:
    """Make a run of another project's checkpoint, to translate, evaluate or train further with.

    **Examples**

    - `limner import latest_net_G.pth --from junyanz --out runs/facades --option netG=unet_256`
    - `limner import net_G.pth --from junyanz --out runs/day --discriminator net_D.pth
      --direction BtoA`
    - `limner import latest_net_G.pth --from SPADE --out runs/city --option label_nc=35 --option
      aspect_ratio=2.0`
    - `limner import latest_net_G.pth --from SPADE --encoder latest_net_E.pth --out runs/vae
      --option label_nc=182 --option contain_dontcare_label=true`

    Parameters
    ----------
    file
        The generator's weights.
    project
        The project that wrote them: junyanz (pytorch-CycleGAN-and-pix2pix), pix2pixHD or SPADE.
    out
        The run's folder; new.
    discriminator
        The discriminator's weights, where they were kept.
    encoder
        The encoder's weights: SPADE's of a VAE, pix2pixHD's of the features of instances.
    direction
        The direction it was trained in, for data whose sides are called A and B.
    """
    from limner.transfer.import_run import import_as_run

    facts = import_as_run(
        file,
        project=project,
        out=out,
        options=option or [],
        discriminator=discriminator,
        encoder=encoder,
        direction=direction,
    )
    if json:
        print_json(facts)
    else:
        beside = "" if facts["encoder"] is None else f" and {facts['encoder']['network']} beside it"
        say(f"{out} holds {facts['network']} with {facts['parameters']:,} parameters{beside}")
