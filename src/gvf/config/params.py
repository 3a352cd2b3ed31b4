"""All of `params.yaml`: one section a stage, one a model, and `run`, which all share."""

from __future__ import annotations

from dataclasses import dataclass

from gvf.config.collect import CollectConfig
from gvf.config.curate import CurateConfig
from gvf.config.evaluate import EvaluateConfig
from gvf.config.featurize import FeaturizeConfig
from gvf.config.render import RenderConfig
from gvf.config.report import ReportConfig
from gvf.config.run import RunConfig
from gvf.config.sample import SampleConfig
from gvf.config.static_vae import StaticVaeConfig
from gvf.config.tracking import TrackingConfig
from gvf.config.train_dit import TrainDitConfig
from gvf.config.train_vae_joint import TrainVaeJointConfig
from gvf.config.train_vae_static import TrainVaeStaticConfig
from gvf.config.variation_dit import VariationDitConfig
from gvf.config.variation_vae import VariationVaeConfig


@dataclass(frozen=True)
class Params:
    """A section has the name of its stage or model, with underscores."""

    run: RunConfig
    tracking: TrackingConfig
    collect: CollectConfig
    curate: CurateConfig
    render: RenderConfig
    featurize: FeaturizeConfig
    static_vae: StaticVaeConfig
    variation_vae: VariationVaeConfig
    variation_dit: VariationDitConfig
    train_vae_static: TrainVaeStaticConfig
    train_vae_joint: TrainVaeJointConfig
    train_dit: TrainDitConfig
    sample: SampleConfig
    evaluate: EvaluateConfig
    report: ReportConfig
