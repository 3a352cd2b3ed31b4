"""All commands of `gvf`, by name: where their code is, and one line of help. Nothing here imports that code."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Entry:
    """A command. target: `module:attribute` of a click command, or the module of a stage. help: one line."""

    target: str
    help: str


STAGES = {
    "collect": Entry("gvf.stages.collect", "Gather animated assets and list their clips."),
    "curate": Entry("gvf.stages.curate", "Bake every clip, decide which ones are kept and why, and split them."),
    "render": Entry("gvf.stages.render", "Ray-cast ground-truth views and conditioning videos."),
    "featurize": Entry("gvf.stages.featurize", "Compute image features of voxels and of conditioning videos."),
    "train-vae": Entry("gvf.cli.train_vae:command", "Train the VAE: --phase static, then --phase joint."),
    "encode": Entry("gvf.stages.encode", "Encode every clip and compute the statistics of the latents."),
    "train-dit": Entry("gvf.stages.train_dit", "Train the diffusion transformer."),
    "train-structure": Entry("gvf.stages.train_structure", "Train the networks from an image to active voxels."),
    "train-appearance": Entry("gvf.stages.train_appearance", "Train the network from an image to the voxels' latents."),
    "sample": Entry("gvf.stages.sample", "Generate moving Gaussians for held-out videos and render them."),
    "evaluate": Entry(
        "gvf_evaluation.commands.evaluate:command", "Score renders of held-out clips, or any method's frames."
    ),
    "report": Entry("gvf_evaluation.stages.report", "Write tables, charts and reports/index.html."),
}

ASSETS = {
    "animate": Entry("gvf.cli.generate:animate", "Make a 3D model move as a video shows."),
    "generate": Entry("gvf.cli.generate:generate", "Make an animated 3D asset from a video alone."),
    "demo": Entry("gvf.cli.demo:command", "Animate a generated object by a generated video, and show the result."),
    "view": Entry("gvf.cli.view:command", "Show an asset in the browser."),
    "export": Entry("gvf.cli.export:command", "Write an asset as PLY, splat, SPZ, GLB, USD or video."),
    "film": Entry("gvf.cli.film:command", "Render a video of an animated model, to use as input."),
    "compare": Entry(
        "gvf_evaluation.commands.compare:command", "Score an asset against the ground-truth animation of its model."
    ),
    "doctor": Entry("gvf.cli.doctor:command", "Check this machine, and say how to fix what does not work."),
}

TOOLS = {
    "ablate": Entry("gvf_evaluation.commands.ablate:command", "Train, sample and score one variant of the ablations."),
    "report-ablations": Entry("gvf_evaluation.commands.report_ablations:command", "Write Tables 2, 3, 5 and 6."),
    "bake": Entry("gvf.cli.bake:command", "Bake one animation clip of a glTF file to vertices over time."),
    "params": Entry("gvf.cli.params:command", "Check a parameter file, or write its JSON schema."),
    "test-sets": Entry(
        "gvf_evaluation.commands.test_sets:command", "List and verify test sets, and identify or reserve assets."
    ),
    "summary": Entry("gvf.cli.summary:command", "Show parameters and activation memory of a preset's networks."),
    "models": Entry("gvf.cli.models:command", "List generators, and export one as a folder that can be copied."),
    "weights": Entry("gvf.cli.weights:command", "List, download and convert published weights."),
}

VAE_PHASES = {
    "static": Entry("gvf.stages.train_vae_static", "canonical autoencoder"),
    "joint": Entry("gvf.stages.train_vae_joint", "variation VAE and finetuned Gaussian decoder"),
}
